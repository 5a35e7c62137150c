// Whether the page is connected, said plainly: since when not, when it is tried again, and that it is back.

import { announce } from "./announce.js";
import { find, setText } from "./dom.js";
import { clock, duration } from "./format.js";

const BACK_MS = 8000;
const REASONS = {
  401: "This page needs the link that “fileserve serve” printed when it started; a restart may have made a new one.",
  403: "The server does not let this page watch.",
  404: "There are no events at this address.",
  422: "The server does not understand what this page wants to watch.",
};

export class Status {
  #state = find("#state");
  #text = find("#state-text");
  #notice = find("#notice");
  #sentence = find("#notice-text");
  #countdown = find("#notice-wait");
  #lostAt = 0; // ms since 1970; 0: nothing is lost
  #ticking = 0;
  #calm = 0;

  /** *hurry* is called when a person asks to try at once. */
  constructor(hurry) {
    find("#notice button").addEventListener("click", hurry);
  }

  /** Say whether what the page shows is of now. */
  get isLive() {
    return this.#state.dataset.state === "live";
  }

  /** Show what a Receiver tells. */
  show({ is, reason = 0, until = 0 }) {
    clearInterval(this.#ticking);
    if (is === "live") this.#live();
    else if (is === "waiting") this.#waiting(reason, until);
    else if (this.#lostAt) setText(this.#countdown, "Trying now …");
  }

  #live() {
    const wasLost = this.#lostAt;
    this.#set("live", wasLost ? `Connected again since ${clock(Date.now() / 1000)}` : "Connected");
    this.#notice.hidden = true;
    this.#lostAt = 0;
    if (!wasLost) return;
    announce("Connected again.");
    this.#calm = setTimeout(() => this.#set("live", "Connected"), BACK_MS);
  }

  #waiting(reason, until) {
    if (!this.#lostAt) {
      this.#lostAt = Date.now();
      announce("Disconnected. This page reconnects by itself.");
    }
    const since = clock(this.#lostAt / 1000);
    this.#set("lost", `Disconnected since ${since}`);
    setText(this.#sentence, REASONS[reason] ?? (reason ? `The server answers ${reason}.` : "The server cannot be reached."));
    this.#notice.hidden = false;
    this.#tick(until);
    this.#ticking = setInterval(() => this.#tick(until), 1000);
  }

  #tick(until) {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    setText(this.#countdown, `Trying again in ${left < 10 ? `${left} s` : duration(left)}.`);
  }

  #set(state, text) {
    clearTimeout(this.#calm);
    document.body.dataset.state = state;
    document.title = state === "lost" ? "Disconnected · fileserve" : "Live · fileserve";
    this.#state.dataset.state = state;
    setText(this.#text, text);
  }
}
