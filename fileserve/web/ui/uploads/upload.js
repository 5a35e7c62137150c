// One file on its way: what state it is in, and each attempt to send what the server has not got yet.

import { Pace } from "./pace.js";
import { Refused, Unreadable, reasonOf } from "./reasons.js";

// A proxy may take requests of 100 MB at the most, or pass on whole ones only: what has arrived by then is kept.
const CHUNK = 64 * 1024 * 1024;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 30_000;
const MOST_NAMES = 100;
const FOUND = [404, 410, 423]; // what tus-js-client makes the right thing of

/**
 * States: "waiting" for its turn, "going", "resting" before it tries again, "paused", "refused" until a person decides,
 * "missing" its file since the page was loaded, "done", "cancelled".
 */
export class Upload {
  state = "waiting";
  sent = 0;
  reason = null; // of reasons.js, when it rests or is refused
  until = 0; // ms since 1970: when it has rested
  pace = new Pace();
  #site;
  #file;
  #attempt = null; // what is under way; of an older one nothing is heard any more
  #rests = 0;
  #timer = 0;
  #renames = 0; // how many names were tried, when both are to be kept
  #replaces = false;

  /** *site* has `endpoint`, `memory`, `folders` and `changed`, which is called with an upload when it is another. */
  constructor(site, folder, name, { size, lastModified }, file = null) {
    this.#site = site;
    Object.assign(this, { folder, name, size, lastModified });
    this.#file = file;
    if (!file) this.state = "missing";
  }

  /** What it was called before both were kept. */
  get original() {
    return this.#renames ? this.#file.name : this.name;
  }

  get isOver() {
    return this.state === "done" || this.state === "cancelled";
  }

  /** Send it; the queue says when. */
  start() {
    this.#set("going");
    this.#try();
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
    if (this.state === "resting") this.start();
  }

  /** Store it beside the file that has its name. */
  keepBoth() {
    this.#rename();
    this.again();
  }

  /** Store it in the place of the file that has its name. */
  replace() {
    this.#replaces = true;
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
  async cancel() {
    this.#stop();
    this.#set("cancelled");
    const [begun] = await this.#begun();
    if (!begun) return;
    this.#site.memory.removeUpload(begun.urlStorageKey);
    const options = { ...tus.defaultOptions, retryDelays: null };
    await tus.Upload.terminate(begun.uploadUrl, options).catch(() => {}); // the server forgets it by itself, later
  }

  async #try() {
    const attempt = (this.#attempt = {});
    const isCurrent = () => this.#attempt === attempt;
    try {
      await readable(this.#file);
      await this.#site.folders.make(this.folder);
      const [begun] = await this.#begun();
      if (!isCurrent()) return;
      attempt.client = new tus.Upload(this.#file, this.#options(isCurrent));
      if (begun) attempt.client.resumeFromPreviousUpload(begun);
      attempt.client.start();
    } catch (error) {
      if (isCurrent()) this.#failed(error);
    }
  }

  #begun() {
    return this.#site.memory.findUploadsByFingerprint(this.#site.memory.fingerprint(this));
  }

  #options(isCurrent) {
    const { endpoint, memory } = this.#site;
    const metadata = { filename: this.name, ...(this.folder && { dir: this.folder }), ...(this.#replaces && { existing: "replace" }) };
    return {
      endpoint,
      metadata,
      chunkSize: CHUNK,
      retryDelays: null, // when to try again is told to the person, and so decided here
      urlStorage: memory,
      fingerprint: async () => memory.fingerprint(this),
      removeFingerprintOnSuccess: true,
      onAfterResponse: keepWhatIsThere,
      onProgress: (sent) => isCurrent() && this.#moved(sent),
      onError: (error) => isCurrent() && this.#failed(error),
      onSuccess: () => isCurrent() && this.#ended(),
    };
  }

  #moved(sent) {
    if (sent < this.sent) this.pace.reset();
    if (sent > this.sent) this.#rests = 0;
    this.sent = sent;
    this.pace.at(sent);
    this.#site.changed(this);
  }

  #ended() {
    this.#attempt = null;
    this.sent = this.size;
    this.#set("done");
  }

  async #failed(error) {
    this.reason = reasonOf(error); // before the attempt is stopped: a request that is aborted forgets its answer
    this.#stop();
    const { is } = this.reason;
    if (is === "gone") await this.#forget();
    if (is === "taken" && this.#renames) return this.#nextName();
    if (is === "away" || is === "busy" || is === "gone") this.#rest();
    else this.#set("refused");
  }

  #nextName() {
    if (this.#renames >= MOST_NAMES) return this.#set("refused");
    this.#rename();
    this.start();
  }

  #rename() {
    const original = this.original;
    this.#renames += 1;
    this.name = alternative(original, this.#renames + 1);
  }

  async #forget() {
    for (const { urlStorageKey } of await this.#begun()) this.#site.memory.removeUpload(urlStorageKey);
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
    this.#attempt?.client?.abort();
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

/** tus-js-client begins anew whatever HEAD refuses; a password that is missing is no reason to. */
function keepWhatIsThere(request, response) {
  const status = response.getStatus();
  if (request.getMethod() === "HEAD" && status >= 400 && !FOUND.includes(status)) throw new Refused(status, "HEAD");
}

/** A file that was changed or deleted meanwhile looks like a network that is away; reading a byte tells. */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Unreadable();
  }
}
