// The server's own log, at the level of choice and above.

import { element, find, visible } from "./dom.js";
import { clock } from "./format.js";
import { Lines } from "./lines.js";
import { loss } from "./losses.js";

const MOST = 1000;
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

export class Log {
  #view = find("#log-lines");
  #level = find("#log-level");
  #lines = new Lines(this.#view, find("#log-jump"), MOST);

  /** The events of the topic "logs". */
  handlers = {
    "": (data) => this.#record(JSON.parse(data)),
    lost: (data) => this.#lines.add(notice(loss(data))),
    reset: () => this.#anew(),
  };

  constructor() {
    this.#level.addEventListener("change", () => this.#filter());
    this.#filter(); // a browser may have kept the choice over a reload
  }

  #record(record) {
    const rank = LEVELS.includes(record.level) ? record.level : "INFO";
    const isShown = LEVELS.indexOf(rank) >= LEVELS.indexOf(this.#level.value.toUpperCase());
    this.#lines.add(line(record, rank), isShown);
  }

  /** The lines stay where they are, and the style leaves out those below the level. */
  #filter() {
    this.#view.dataset.level = this.#level.value;
    this.#lines.settle();
  }

  #anew() {
    this.#lines.clear();
    this.#lines.add(notice("The server's log begins anew here."));
  }
}

function line({ time, level, logger, message }, rank) {
  const stamp = element("time", { datetime: new Date(1000 * time).toISOString() }, clock(time));
  const origin = element("span", { class: "origin", title: logger }, visible(logger.replace(/^fileserve\./, "")));
  const text = element("span", { class: "text" }, visible(message));
  const said = element("span", { class: "said" }, origin, " ", text);
  const words = [stamp, " ", element("span", { class: "level" }, level), " ", said]; // spaces for who copies it
  return element("p", { class: `line record ${rank.toLowerCase()}` }, ...words);
}

function notice(sentence) {
  return element("p", { class: "line notice" }, sentence);
}
