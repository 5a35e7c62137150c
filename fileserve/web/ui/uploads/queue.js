// All uploads of this page: a few go at once, the others wait for their turn, in the order in which they came.

const AT_ONCE = 3;
const STATES = ["missing", "refused", "going", "resting", "paused", "waiting", "done"];

export class Queue {
  #in = Object.fromEntries(STATES.map((state) => [state, new Set()]));
  #stateOf = new Map();

  /** Take that *upload* is new, or may be in another state; return whether it is. */
  moved(upload) {
    const before = this.#stateOf.get(upload);
    if (before === upload.state) return false;
    this.#in[before]?.delete(upload);
    this.#in[upload.state]?.add(upload);
    if (upload.state === "cancelled") this.#stateOf.delete(upload);
    else this.#stateOf.set(upload, upload.state);
    this.#next();
    return true;
  }

  /** Return the uploads in any of *states*, each in the order in which they came to be so. */
  in(...states) {
    return states.flatMap((state) => [...this.#in[state]]);
  }

  /** Return the upload of *name* to *folder* that is not done yet. */
  named(folder, name) {
    for (const upload of this.#stateOf.keys()) {
      if (upload.name === name && upload.folder === folder && upload.state !== "done") return upload;
    }
    return null;
  }

  get size() {
    return this.#stateOf.size;
  }

  /** Whether any is on its way, also when the network is away. One that rests keeps its place. */
  get isBusy() {
    return this.#running > 0 || this.#in.waiting.size > 0;
  }

  /** Forget those that are done. */
  clear() {
    for (const upload of this.#in.done) this.#stateOf.delete(upload);
    this.#in.done.clear();
  }

  get #running() {
    return this.#in.going.size + this.#in.resting.size;
  }

  #next() {
    while (this.#running < AT_ONCE && this.#in.waiting.size > 0) this.#in.waiting.values().next().value.start();
  }
}
