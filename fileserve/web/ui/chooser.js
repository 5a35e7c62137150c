// A field for a path with the button that takes it, and one that stops what was begun: for whatever is of one file.

import { find } from "./dom.js";
import { suggest } from "./suggest.js";

export class Chooser {
  #field;
  #take;
  #stop;
  #path = "";

  /** *name* begins the ids of form, field, list and buttons. *chosen* is called with a path, or with "" to stop. */
  constructor(name, chosen) {
    this.#field = find(`#${name}-path`);
    this.#take = find(`#${name}-take`);
    this.#stop = find(`#${name}-stop`);
    suggest(this.#field, find(`#${name}-paths`));
    find(`#${name}-form`).addEventListener("submit", (event) => {
      event.preventDefault();
      chosen(this.#field.value.trim().replace(/^\/+/, ""));
    });
    this.#stop.addEventListener("click", () => {
      chosen("");
      this.#field.focus();
    });
    this.#field.addEventListener("input", () => this.#show());
  }

  /** Show that the file at *path* is at work on; with "", none. */
  at(path) {
    this.#path = path;
    if (path) this.#field.value = path;
    this.#show();
  }

  /** Another path may be taken meanwhile; the same one is stopped first. */
  #show() {
    const isAtIt = this.#path !== "" && this.#field.value === this.#path;
    this.#take.hidden = isAtIt;
    this.#stop.hidden = !isAtIt;
  }
}
