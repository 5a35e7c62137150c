// One upload as a row of the list: its elements are made once, and only what has changed is written.

import { element, setText, visible } from "../dom.js";
import { amount, duration, percent, rate, size } from "../format.js";

export class Row {
  #folder = element("span", { class: "folder" });
  #file = element("span", { class: "file" });
  #figures = element("p", { class: "figures figure" });
  #choices = element("div", { class: "choices" });
  #fill = element("span", { class: "fill" });
  #bar = element("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, this.#fill);
  #told = element("p", { class: "told" });
  #offered = "";
  #top;

  element = element(
    "li",
    {},
    element("p", { class: "what" }, element("bdi", {}, this.#folder, this.#file)),
    this.#figures,
    this.#choices,
    this.#bar,
    this.#told,
  );

  /** *top* is the folder of the page: what lies in it is called without it. */
  constructor(top) {
    this.#top = top;
  }

  /** Show *upload*; *choices* are pairs of a word and what it does. */
  show(upload, choices) {
    const { state, folder, name } = upload;
    this.element.className = state === "refused" ? `refused ${upload.reason.is}` : state;
    const below = this.#top ? folder.slice(this.#top.length + 1) : folder;
    setText(this.#folder, below ? `${visible(below)}/` : "");
    setText(this.#file, visible(name));
    setText(this.#figures, figures(upload));
    setText(this.#told, told(upload));
    this.#progress(upload);
    this.#offer(choices, visible(name));
  }

  #progress({ sent, size: whole, name, state }) {
    const share = state === "done" ? 1 : whole ? sent / whole : 0;
    this.#bar.hidden = state === "done" || (sent === 0 && !["going", "paused"].includes(state));
    this.#bar.setAttribute("aria-label", `Progress of ${visible(name)}`);
    this.#bar.setAttribute("aria-valuenow", parseInt(percent(share), 10));
    this.#fill.style.transform = `scaleX(${share})`;
  }

  /** Buttons are made anew only when they are others; whoever was on one of them is on the first of the new ones. */
  #offer(choices, name) {
    const offered = [name, ...choices.map(([word]) => word)].join("\n");
    if (offered === this.#offered) return;
    this.#offered = offered;
    const hadFocus = this.#choices.contains(document.activeElement);
    this.#choices.replaceChildren(...choices.map(([word, act]) => button(word, name, act)));
    if (hadFocus) this.#choices.firstElementChild?.focus();
  }
}

function button(word, name, act) {
  const made = element("button", { type: "button", "aria-label": `${word}: ${name}` }, word);
  made.addEventListener("click", act);
  return made;
}

function figures({ state, sent, size: whole, pace }) {
  if (state === "done" || state === "waiting") return `${size(whole)} · ${state === "done" ? "stored" : "waiting"}`;
  if (sent === 0) return size(whole);
  const share = `${percent(sent / whole)}`;
  const bytes = amount(sent, whole);
  if (state !== "going" || pace.rate === 0 || sent >= whole) return `${bytes} · ${share}`;
  return `${bytes} · ${rate(pace.rate)} · ${left((whole - sent) / pace.rate)} · ${share}`;
}

/** Rounded so that it does not flicker: nobody waits by tenths of a second. */
function left(seconds) {
  return seconds < 10 ? `${Math.ceil(seconds)} s left` : `${duration(seconds)} left`;
}

function told({ state, sent, size: whole, reason, until }) {
  if (state === "refused") return reason.sentence;
  if (state === "resting") return `${reason.sentence} Trying again in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`;
  if (state === "missing") return reason?.sentence ?? "Not finished. Choose or drop the same file to go on.";
  if (state === "going" && sent >= whole) return "The server stores it.";
  return state === "paused" ? "Paused" : "";
}
