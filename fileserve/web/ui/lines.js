// A bounded list of lines that stays at its end, unless a person has scrolled up to read.

import { setText } from "./dom.js";
import { painter } from "./frame.js";
import { count } from "./format.js";

const NEAR_PX = 24;

export class Lines {
  #view;
  #jump;
  #most;
  #waiting = [];
  #unseen = 0;
  #follows = true;
  #request = painter(() => this.#paint());

  /** *view* is what scrolls, *jump* the button back to its end, *most* how many lines are kept. */
  constructor(view, jump, most) {
    this.#view = view;
    this.#jump = jump;
    this.#most = most;
    view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.#toEnd());
  }

  /** Add *line*, an element; *counts*: as one that would be seen. Of more than are kept the first are never drawn. */
  add(line, counts = true) {
    this.#waiting.push(line);
    if (this.#waiting.length > this.#most) this.#waiting.shift();
    this.#unseen += counts;
    this.#request();
  }

  /** Forget all lines. */
  clear() {
    this.#waiting.length = 0;
    this.#unseen = 0;
    this.#view.replaceChildren();
    this.#toEnd();
  }

  /** Look again where the end is: lines were hidden or shown. */
  settle() {
    if (this.#follows) this.#view.scrollTop = this.#view.scrollHeight;
  }

  #paint() {
    const view = this.#view;
    view.append(...this.#waiting);
    this.#waiting.length = 0;
    while (view.childElementCount > this.#most) view.firstElementChild.remove();
    this.settle();
    this.#show();
  }

  #scrolled() {
    const view = this.#view;
    this.#follows = view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_PX;
    this.#show();
  }

  #toEnd() {
    this.#follows = true;
    this.settle();
    this.#show();
  }

  #show() {
    if (this.#follows) this.#unseen = 0;
    this.#jump.hidden = this.#follows;
    setText(this.#jump, this.#unseen ? `↓ ${count(this.#unseen, "new line")}` : "↓ Follow");
  }
}
