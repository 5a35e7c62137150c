// Text that appears as if it were typed: the faster, the more of it waits; at once for those who want no motion.

import { element } from "./dom.js";
import { painter } from "./frame.js";

const SHARE = 1 / 12;
const COMMAND = /^\s*\$?\s*(curl|wget|aria2c|sha256sum) /;

export class Typewriter {
  #sheet;
  #line = null;
  #waiting = "";
  #settled = null;
  #typed;
  #isHurried = matchMedia("(prefers-reduced-motion: reduce)").matches;
  #request = painter(() => this.#paint());

  /** *sheet* is what the lines are put into; *typed* is called whenever there is more of them. */
  constructor(sheet, typed) {
    this.#sheet = sheet;
    this.#typed = typed;
  }

  /** Type *text* after what is there. */
  write(text) {
    this.#waiting += text;
    this.#request();
  }

  /** Show what waits, and all that comes, at once. */
  hurry() {
    this.#isHurried = true;
  }

  /** Wait until all that was written is typed. */
  async finished() {
    if (!this.#waiting) return;
    await new Promise((resolve) => {
      this.#settled = resolve;
    });
  }

  #paint() {
    const many = this.#isHurried ? this.#waiting.length : Math.max(1, Math.ceil(this.#waiting.length * SHARE));
    const now = [...this.#waiting].slice(0, many).join(""); // by characters: half of one is none
    this.#waiting = this.#waiting.slice(now.length);
    now.split("\n").forEach((text, at) => this.#type(text, at > 0));
    this.#typed();
    if (this.#waiting) this.#request();
    else this.#settled?.();
  }

  #type(text, isNext) {
    if (isNext || this.#line === null) {
      this.#line = element("p", { class: "text" });
      this.#sheet.append(this.#line);
    }
    if (!text) return;
    this.#line.append(text);
    if (COMMAND.test(this.#line.textContent)) this.#line.className = "text command";
  }
}
