// How fast something grows, over its last seconds.

const SPAN_MS = 5000;
const LEAST_MS = 500;

export class Pace {
  #samples = []; // [ms, bytes], the oldest first

  /** Take that it is *bytes* now. */
  at(bytes) {
    const now = performance.now();
    while (this.#samples.length > 1 && now - this.#samples[0][0] > SPAN_MS) this.#samples.shift();
    this.#samples.push([now, bytes]);
  }

  /** Begin anew: it stood still, or went back. */
  reset() {
    this.#samples = [];
  }

  /** Bytes per second; 0 until that can be told. */
  get rate() {
    if (this.#samples.length < 2) return 0;
    const [[then, few], [, many]] = [this.#samples[0], this.#samples.at(-1)];
    const elapsed = performance.now() - then;
    return elapsed < LEAST_MS ? 0 : (1000 * Math.max(0, many - few)) / elapsed;
  }
}
