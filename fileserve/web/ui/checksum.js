// The SHA-256 of a file while it is computed: ten tenths with the time of each, and then the digest.

import { announce } from "./announce.js";
import { Chooser } from "./chooser.js";
import { element, find, setText, visible } from "./dom.js";
import { duration, percent, size } from "./format.js";
import { painter } from "./frame.js";
import { topicOf } from "./receiver.js";

const TENTHS = 10;
const COPIED_MS = 2000;

export class Checksum {
  #receiver;
  #path = "";
  #chooser;
  #told = { step: 0, progress: 0, time: 0 };
  #passed = []; // seconds at each tenth
  #bar = find("#checksum-bar");
  #tenths = Array.from({ length: TENTHS }, tenth);
  #request = painter(() => this.#paint());

  /** *chosen* is called with the path, or with "" when nothing is computed any more. */
  constructor(receiver, chosen) {
    this.#receiver = receiver;
    this.#bar.append(...this.#tenths.map(({ box }) => box));
    this.#chooser = new Chooser("checksum", (path) => {
      this.compute(path);
      chosen(path);
    });
    find("#digest-copy").addEventListener("click", () => this.#copy());
  }

  /** Watch the computation of the digest of the file at *path*, and of no other; with "", none. */
  compute(path) {
    if (this.#path) this.#receiver.leave(topicOf("checksum", this.#path));
    const hasStopped = this.#path && !path;
    this.#now(path);
    if (hasStopped) this.#say("Stopped.");
    if (!path) return;
    find("#checksum-empty").hidden = true;
    find("#checksum-result").hidden = false;
    this.#anew();
    this.#say(`Reading ${visible(path)} …`);
    this.#receiver.watch(topicOf("checksum", path), {
      "": (data) => this.#moved(JSON.parse(data)),
      checkpoint: (data) => this.#checkpoint(JSON.parse(data)),
      done: (data) => this.#done(JSON.parse(data)),
      reset: () => this.#anew(),
      error: (data) => this.#failed(JSON.parse(data).detail),
    });
  }

  #now(path) {
    this.#path = path;
    this.#chooser.at(path);
  }

  #anew() {
    this.#told = { step: 0, progress: 0, time: 0 };
    this.#passed = [];
    find("#digest").hidden = true;
    this.#request();
  }

  #moved(told) {
    this.#told = told;
    this.#say(`${size(told.step)} read in ${duration(told.time)}`);
    this.#request();
  }

  #checkpoint({ progress, time }) {
    this.#passed[Math.round(progress / TENTHS) - 1] = time;
    this.#request();
  }

  #done({ sha256, name }) {
    const { step, time } = this.#told;
    this.#over();
    this.#say(step ? `${size(step)} read in ${duration(time)}` : "Known already; nothing had to be read.");
    this.#told = { ...this.#told, progress: 100 };
    setText(find("#digest-text"), sha256);
    find("#digest-copy").hidden = !navigator.clipboard;
    find("#digest").hidden = false;
    announce(`The SHA-256 of ${name} is known.`);
    this.#request();
  }

  #failed(detail) {
    this.#over();
    this.#say(detail, "bad");
    announce(detail);
  }

  #over() {
    this.#receiver.over(topicOf("checksum", this.#path));
    this.#now("");
  }

  #say(sentence, manner = "quiet") {
    const told = find("#checksum-told");
    told.className = manner;
    setText(told, sentence);
  }

  #paint() {
    const { progress } = this.#told;
    this.#bar.setAttribute("aria-valuenow", Math.floor(progress));
    setText(find("#checksum-share"), percent(progress / 100));
    this.#tenths.forEach(({ box, fill, time }, at) => {
      const filled = Math.min(1, Math.max(0, progress / TENTHS - at));
      fill.style.transform = `scaleX(${filled})`;
      box.classList.toggle("passed", filled === 1);
      setText(time, this.#passed[at] === undefined ? "" : duration(this.#passed[at]));
    });
  }

  async #copy() {
    await navigator.clipboard.writeText(find("#digest-text").textContent);
    announce("Copied.");
    setText(find("#digest-copy"), "Copied");
    setTimeout(() => setText(find("#digest-copy"), "Copy"), COPIED_MS);
  }
}

function tenth() {
  const fill = element("span", { class: "fill" });
  const time = element("span", { class: "time" });
  return { fill, time, box: element("span", { class: "tenth" }, element("span", { class: "track" }, fill), time) };
}
