// One file that is to be stored: what state it is in, and what makes it another one.

import { Attempt, giveUp } from "./attempt.js";
import { Pace } from "./pace.js";
import { reasonOf } from "./reasons.js";

const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 30_000;
const MOST_NAMES = 100;

/**
 * States: "waiting" for its turn, "going", "resting" before it tries again, "paused", "refused" until a person decides,
 * "missing" its file since the page was loaded, "done", "cancelled".
 */
export class Upload {
  state;
  replaces = false; // what has its name
  sent = 0;
  reason = null; // of reasons.js, when it rests or is refused
  until = 0; // ms since 1970: when it has rested
  pace = new Pace();
  #site;
  #file;
  #attempt = null;
  #rests = 0;
  #timer = 0;
  #renames = 0; // how many names were tried, when both are to be kept

  /** *site* is that of an Attempt, and has `changed`, which is called with an upload when it is another. */
  constructor(site, folder, name, { size, lastModified }, file = null) {
    Object.assign(this, { folder, name, size, lastModified });
    this.#site = site;
    this.#file = file;
    this.state = file ? "waiting" : "missing";
  }

  /** Send it; the queue says when. */
  start() {
    this.#attempt = new Attempt(this.#site);
    this.#attempt.begin(this.#file, this, {
      moved: (sent) => this.#moved(sent),
      failed: (error) => this.#failed(error),
      ended: () => this.#ended(),
    });
    this.#set("going");
  }

  /** Let it stand until `again`. */
  pause() {
    this.#stop();
    this.#set("paused");
  }

  /** Have it wait for its turn: after a pause, a refusal, or something that was mended. */
  again() {
    this.#stop();
    this.#rests = 0;
    this.#set("waiting");
  }

  /** Do not rest any longer. */
  hurry() {
    if (this.state !== "resting") return;
    this.#stop();
    this.start();
  }

  /** Store it beside the file that has its name. */
  async keepBoth() {
    if (this.state !== "refused" || !(await this.#givenUp())) return; // what was begun would get the other name
    this.#rename();
    this.again();
  }

  /** Store it in the place of the file that has its name. */
  async replace() {
    if (this.state !== "refused" || !(await this.#givenUp())) return; // what was begun was not to replace anything
    this.replaces = true;
    this.again();
  }

  /** Go on with *file*; return whether it is the one that was begun. */
  give(file) {
    if (file.size !== this.size || file.lastModified !== this.lastModified) {
      this.reason = { is: "unreadable", sentence: "That is another file: its size or date is not the same." };
      this.#site.changed(this);
      return false;
    }
    this.#file = file;
    this.again();
    return true;
  }

  /** Give it up, here and on the server. */
  cancel() {
    this.#stop();
    this.#set("cancelled");
    return giveUp(this, this.#site);
  }

  #moved(sent) {
    if (sent < this.sent) this.pace.reset();
    if (sent > this.sent) this.#rests = 0;
    this.sent = sent;
    this.pace.at(sent);
    this.#site.changed(this);
  }

  #ended() {
    this.sent = this.size;
    this.#set("done");
  }

  async #failed(error) {
    this.reason = reasonOf(error);
    this.pace.reset();
    const { is } = this.reason;
    if (is === "taken" && this.#renames > 0 && this.#renames < MOST_NAMES) {
      if (!(await this.#givenUp())) return;
      this.#rename();
      this.start();
    } else if (is === "gone") {
      if (await this.#givenUp()) this.#rest();
    } else if (is === "away" || is === "busy") this.#rest();
    else this.#set("refused");
  }

  /** Have the server forget what was begun; return false if a person has decided otherwise meanwhile. */
  async #givenUp() {
    const attempt = this.#attempt;
    await giveUp(this, this.#site);
    return this.#attempt === attempt;
  }

  #rename() {
    const original = this.#renames ? this.#file.name : this.name;
    this.#renames += 1;
    this.name = alternative(original, this.#renames + 1);
  }

  #rest() {
    const wait = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** this.#rests);
    this.#rests += 1;
    this.until = Date.now() + wait;
    this.#timer = setTimeout(() => this.hurry(), wait);
    this.#set("resting");
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#attempt?.stop();
    this.#attempt = null;
    this.pace.reset();
  }

  #set(state) {
    this.state = state;
    this.#site.changed(this);
  }
}

/** "notes.tar.gz", 2 → "notes (2).tar.gz", as the server does it for a form */
export function alternative(name, number) {
  const dot = name.startsWith(".") ? -1 : name.indexOf(".");
  return dot < 0 ? `${name} (${number})` : `${name.slice(0, dot)} (${number})${name.slice(dot)}`;
}
