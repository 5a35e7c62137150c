// One transfer as a row of the table: its elements are made once, and only what has changed is written. So the class has
// an attribute for each element that changes.

import { element, setText, visible } from "./dom.js";
import { amount, clock, count, duration, percent, rate, size } from "./format.js";

const OUTCOMES = ["complete", "aborted", "stalled", "failed", "expired", "unknown"];

export class TransferRow {
  #folder = element("span", { class: "folder" });
  #file = element("span", { class: "file" });
  #name = element("bdi", {}, this.#folder, this.#file);
  #about = element("p", { class: "about" });
  #fill = element("span", { class: "fill" });
  #bar = element("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, this.#fill);
  #amount = element("p", { class: "about" });
  #share = cell("share");
  #rate = cell("rate");
  #left = cell("left");
  #path = null;
  #shown = null;

  element = element(
    "tr",
    { role: "row" },
    element("th", { scope: "row", role: "rowheader", class: "what" }, this.#name, " ", this.#about),
    element("td", { role: "cell", class: "progress" }, this.#bar, this.#amount),
    this.#share,
    this.#rate,
    this.#left,
  );

  /** Show *transfer*: how far it has come, or, if it has an outcome, how it ended. */
  show(transfer) {
    if (transfer === this.#shown) return;
    this.#shown = transfer;
    if (this.#path !== transfer.path) this.#rename(transfer.path);
    if (transfer.outcome === null) this.#underWay(transfer);
    else this.#ended(transfer);
    this.#progress(transfer);
  }

  #rename(path) {
    this.#path = path;
    const cut = path.lastIndexOf("/") + 1;
    setText(this.#folder, visible(path.slice(0, cut)));
    setText(this.#file, visible(path.slice(cut)) || "all files");
    this.#bar.setAttribute("aria-label", `Progress of ${visible(path) || "all files"}`);
  }

  #underWay(transfer) {
    const isPaused = transfer.connections === 0;
    const isBlind = transfer.offloaded > 0; // nginx sends, and tells only of the end
    this.element.className = isPaused ? "paused" : "moving";
    setText(this.#about, facts(transfer, isPaused ? "" : count(transfer.connections, "connection")));
    setText(this.#rate, isPaused || isBlind ? "" : rate(transfer.rate));
    setText(this.#left, isPaused ? "may resume" : isBlind ? "sent by nginx" : left(transfer));
  }

  #ended(transfer) {
    const { began, outcome, seconds } = transfer;
    this.element.className = `ended ${OUTCOMES.includes(outcome) ? outcome : "failed"}`;
    setText(this.#about, facts(transfer, clock(began + seconds)));
    setText(this.#rate, seconds > 0 ? `in ${duration(seconds)}` : "");
    setText(this.#left, outcome);
  }

  #progress({ covered, length, share, from }) {
    const whole = percent(share);
    const begin = length ? Math.min(from / length, 1 - share) : 0;
    this.#fill.style.transform = `translateX(${100 * begin}%) scaleX(${share})`;
    this.#bar.setAttribute("aria-valuenow", parseInt(whole, 10));
    setText(this.#share, whole);
    setText(this.#amount, covered >= length ? size(length) : amount(covered, length));
  }
}

function left({ left_s: seconds }) {
  return seconds === null ? "" : duration(seconds);
}

function cell(name) {
  return element("td", { role: "cell", class: name });
}

/** Who, how, from where on. */
function facts({ client, route, from }, also) {
  const parts = [client, also, route === "archive" ? "archive" : "", from > 0 ? `from ${size(from)}` : ""];
  return parts.filter(Boolean).join(" · ");
}
