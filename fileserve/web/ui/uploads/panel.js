// The list of uploads: what each is doing and what a person can do about it, and how far all of them have come.

import { announce } from "../announce.js";
import { element, find, setText, visible } from "../dom.js";
import { amount, count, duration, rate, size } from "../format.js";
import { painter } from "../frame.js";
import { Row } from "./row.js";

const PACE_MS = 250;
const MOST_ROWS = 100;
const MOST_DONE = 20;

export class Panel {
  #queue;
  #site;
  #rows = new Map(); // upload → Row
  #list = find("#queue-list");
  #pause = find("#queue-pause");
  #clear = find("#queue-clear");
  #all = find("#queue-all");
  #request = painter(() => this.#paint(), PACE_MS);

  /** *choose* has a person choose the file of an upload that misses it. */
  constructor(site, queue, choose) {
    this.#site = site;
    this.#queue = queue;
    this.choose = choose;
    this.#pause.addEventListener("click", () => this.#pauseAll());
    this.#clear.addEventListener("click", () => this.#clearDone());
    setInterval(() => this.#queue.in("resting", "going").length && this.#request(), 1000); // countdowns, and rates that fall
  }

  /** Show that *upload* is another; *hasMoved* tells whether it is in another state. */
  changed(upload, hasMoved) {
    if (hasMoved) tell(upload);
    this.#request();
  }

  #paint() {
    const queue = this.#queue;
    const focused = this.#list.contains(document.activeElement);
    const done = queue.in("done");
    const under = queue.in("missing", "refused", "going", "resting", "paused", "waiting");
    const shown = [...under.slice(0, MOST_ROWS), ...done.slice(-MOST_DONE).reverse()];
    this.#arrange(shown);
    if (focused && !this.#list.contains(document.activeElement)) find("#queue-title").focus();
    this.#summarize(under, done);
    const hidden = queue.size - shown.length;
    setText(find("#queue-more"), `And ${count(hidden, "other file")} that this list leaves out.`);
    find("#queue-more").hidden = hidden === 0;
    find("#queue").hidden = queue.size === 0;
  }

  /** Have the rows of *uploads* in this order; rows that stand right are not moved. */
  #arrange(uploads) {
    const kept = new Set(uploads);
    for (const [upload, row] of this.#rows) {
      if (kept.has(upload)) continue;
      row.element.remove();
      this.#rows.delete(upload);
    }
    let place = this.#list.firstElementChild;
    for (const upload of uploads) {
      const row = this.#rows.get(upload) ?? new Row(this.#site.folder);
      this.#rows.set(upload, row);
      row.show(upload, this.#choices(upload));
      if (row.element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(row.element, place);
    }
  }

  #choices(upload) {
    const cancel = ["Cancel", () => upload.cancel()];
    if (upload.state === "refused") return this.#wayOut(upload);
    return {
      missing: [["Choose the file", () => this.choose(upload)], ["Discard", cancel[1]]],
      going: [["Pause", () => upload.pause()], cancel],
      resting: [["Try now", () => upload.hurry()], cancel],
      paused: [["Resume", () => upload.again()], cancel],
      waiting: [cancel],
      done: [],
    }[upload.state];
  }

  #wayOut(upload) {
    const skip = ["Skip", () => upload.cancel()];
    if (upload.reason.is === "unreadable") return [["Choose the file", () => this.choose(upload)], skip];
    if (upload.reason.is === "never") return [skip];
    if (upload.reason.is !== "taken") return [["Try again", () => upload.again()], skip];
    const replace = this.#site.mayReplace ? [["Replace", () => upload.replace()]] : [];
    return [["Keep both", () => upload.keepBoth()], ...replace, skip];
  }

  #summarize(under, done) {
    const [files, whole] = [under.length + done.length, sum([...under, ...done], "size")];
    const sent = sum(under, "sent") + sum(done, "size");
    const speed = this.#queue.in("going").reduce((total, { pace }) => total + pace.rate, 0);
    const parts = under.length
      ? [`${done.length.toLocaleString("en")} of ${count(files, "file")}`, amount(sent, whole)]
      : [`${count(files, "file")} stored`, size(whole)];
    if (speed > 0) parts.push(rate(speed), `${duration(Math.ceil((whole - sent) / speed))} left`);
    setText(find("#queue-sum"), parts.join(" · "));
    const isBusy = this.#queue.isBusy;
    const paused = this.#queue.in("paused").length;
    this.#pause.hidden = under.length < 2 || !(isBusy || paused);
    setText(this.#pause, isBusy ? "Pause all" : "Resume all");
    this.#clear.hidden = isBusy || done.length === 0;
    this.#offerForAll(this.#taken().length);
  }

  /** Of several names that are taken, a person decides once. */
  #offerForAll(taken) {
    if (taken < 2) return this.#offerNothing();
    this.#all.hidden = false;
    if (`${taken}` === this.#all.dataset.taken) return;
    this.#all.dataset.taken = taken;
    const replace = this.#site.mayReplace ? [["Replace all", (upload) => upload.replace()]] : [];
    const ways = [["Keep all", (upload) => upload.keepBoth()], ...replace, ["Skip all", (upload) => upload.cancel()]];
    const buttons = ways.map(([word, act]) => {
      const made = element("button", { type: "button" }, word);
      made.addEventListener("click", () => this.#taken().forEach(act)); // by then they may be others
      return made;
    });
    this.#all.replaceChildren(element("span", {}, `${count(taken, "name")} are taken.`), ...buttons);
  }

  #offerNothing() {
    const hadFocus = this.#all.contains(document.activeElement);
    this.#all.replaceChildren();
    this.#all.hidden = true;
    delete this.#all.dataset.taken;
    if (hadFocus) find("#queue-title").focus();
  }

  /** Return the uploads of which a person has to decide, since something has their name. */
  #taken() {
    return this.#queue.in("refused").filter(({ reason }) => reason.is === "taken");
  }

  #pauseAll() {
    if (this.#queue.isBusy) this.#queue.in("waiting", "resting", "going").forEach((upload) => upload.pause());
    else this.#queue.in("paused").forEach((upload) => upload.again());
  }

  #clearDone() {
    this.#queue.clear();
    find(this.#queue.size ? "#queue-title" : "#uploads-choose").focus();
    this.#request();
  }
}

/** Ends and breaks are read out, progress is not. */
function tell({ state, name, reason }) {
  if (state === "done") announce(`${visible(name)} is stored.`);
  if (state === "refused") announce(`${visible(name)}: ${reason.sentence}`);
}

function sum(uploads, figure) {
  return uploads.reduce((total, upload) => total + upload[figure], 0);
}
