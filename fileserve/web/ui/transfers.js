// Who downloads what: the transfers under way, the newest first, and beneath them those that ended a moment ago.

import { announce } from "./announce.js";
import { find, setText } from "./dom.js";
import { clock, count, rate } from "./format.js";
import { painter } from "./frame.js";
import { loss } from "./losses.js";
import { TransferRow } from "./transfer-row.js";

const PACE_MS = 200; // events come four times a second for each transfer
const MOST_SHOWN = 200;
const MOST_GLIDING = 40; // bars that move smoothly; of more, the gliding would be most of what the page costs
const MOST_ENDED = 20;
const KEPT_MS = 5 * 60_000;
const ANNOUNCED_MS = 3000;

export class Transfers {
  #underWay = new Map(); // id → transfer, in the order of their beginning
  #ended = new Map(); // id → {transfer, at: when it was told, ms since 1970}, in this order
  #rows = new Map(); // id → TransferRow
  #unannounced = 0; // ends, in a hidden tab many
  #request = painter(() => this.#paint(), PACE_MS);
  #sum = find("#transfers-sum");
  #more = find("#transfers-more");

  /** The events of the topic "transfers". After "reset" and "lost" comes a snapshot. */
  handlers = {
    snapshot: (data) => this.#snapshot(JSON.parse(data).transfers),
    started: (data) => this.#moved(JSON.parse(data)),
    progress: (data) => this.#moved(JSON.parse(data)),
    finished: (data) => this.#finished(JSON.parse(data)),
    lost: (data) => this.#lost(loss(data)),
  };

  constructor() {
    setInterval(() => this.#request(), 15_000); // for those that are no longer kept
  }

  /** Bytes per second, of all that are under way. */
  get rate() {
    let sum = 0;
    for (const transfer of this.#underWay.values()) sum += transfer.rate;
    return sum;
  }

  #snapshot(transfers) {
    const told = new Set(transfers.map(({ id }) => id));
    for (const id of this.#underWay.keys()) if (!told.has(id)) this.#underWay.delete(id);
    for (const transfer of transfers) this.#moved(transfer);
    this.#request();
  }

  #moved(transfer) {
    if (this.#ended.has(transfer.id)) return; // told once more after a reconnect
    this.#underWay.set(transfer.id, transfer);
    this.#request();
  }

  #finished(transfer) {
    const { id, path, outcome } = transfer;
    this.#underWay.delete(id);
    if (!this.#ended.has(id)) this.#announce(`${path}: ${outcome}.`);
    this.#ended.set(id, { transfer, at: this.#ended.get(id)?.at ?? Date.now() });
    if (this.#ended.size > MOST_ENDED) this.#ended.delete(this.#ended.keys().next().value);
    this.#request();
  }

  #lost(sentence) {
    const told = find("#transfers-lost");
    setText(told, `${clock(Date.now() / 1000)} ${sentence}`);
    told.hidden = false;
  }

  /** Have ends told together: a server may see many of them in a second. */
  #announce(end) {
    this.#unannounced += 1;
    if (this.#unannounced > 1) return;
    setTimeout(() => {
      announce(this.#unannounced === 1 ? end : `${this.#unannounced} transfers ended.`);
      this.#unannounced = 0;
    }, ANNOUNCED_MS);
  }

  #paint() {
    const oldest = Date.now() - KEPT_MS;
    for (const [id, { at }] of this.#ended) if (at < oldest) this.#ended.delete(id);
    const active = [...this.#underWay.keys()].reverse().slice(0, MOST_SHOWN);
    const ended = [...this.#ended.keys()].reverse();
    const shown = new Set([...active, ...ended]);
    for (const [id, row] of this.#rows) if (!shown.has(id)) this.#remove(id, row);
    this.#arrange(find("#ended"), ended, (id, row) => row.show(this.#ended.get(id).transfer));
    this.#arrange(find("#under-way"), active, (id, row) => row.show(this.#underWay.get(id)));
    this.#summarize(active.length, ended.length);
  }

  /** Have the rows of *ids* in *body*, in this order; rows that stand right are not moved. */
  #arrange(body, ids, show) {
    let place = body.firstElementChild;
    for (const id of ids) {
      const row = this.#rows.get(id) ?? new TransferRow();
      show(id, row);
      this.#rows.set(id, row);
      if (row.element === place) place = place.nextElementSibling;
      else body.insertBefore(row.element, place);
    }
  }

  #remove(id, row) {
    row.element.remove();
    this.#rows.delete(id);
  }

  #summarize(active, ended) {
    const hidden = this.#underWay.size - active;
    setText(this.#sum, this.#underWay.size ? `${this.#underWay.size} under way` : "");
    setText(find("#rate"), rate(this.rate));
    setText(this.#more, `And ${count(hidden, "older transfer")} that this list leaves out.`);
    this.#more.hidden = hidden === 0;
    find("#under-way").classList.toggle("gliding", active <= MOST_GLIDING);
    find("#ended-head").hidden = ended === 0;
    find("#transfers-table").hidden = active + ended === 0;
    find("#transfers-empty").hidden = active + ended > 0;
  }
}
