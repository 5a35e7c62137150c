// One EventSource for all that the page watches, made anew whenever it ends.
//
// A browser reconnects by itself after a broken connection, without ever slowing down, and gives up for good after one
// answer such as 502 or 503. So the page does it: after 1 s, then twice as long each time up to 30 s, give or take a
// quarter so that a thousand pages do not come at once. The last event's id goes along in the query: it is itself a query
// string of one id for each topic, of which those are kept that are still watched. Nothing is missed, nothing is doubled.

const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
const PATIENCE_MS = 5000;
const NOT_UNDERSTOOD = [400, 422]; // of all topics together, although one is to blame

/** Return the topic *kind* of the file at *path*, as it stands in the address and before the events' names. */
export function topicOf(kind, path) {
  return `${kind}:${path.split("/").map(encodeURIComponent).join("/")}`;
}

export class Receiver {
  #address;
  #topics = new Map(); // topic → {event name, "" for unnamed messages: function of its data}
  #left = new Set(); // topics whose place is in the last id, and is not to be gone on from
  #sources = []; // the last one counts; those before it end when it has begun, so that what is computed for them goes on
  #lastId = "";
  #failures = 0;
  #opening = 0; // the timer of the next attempt
  #tell;

  /** *address* has the parameters of the topics in its query. *tell* is called with what becomes of the connection:
   *  {is: "connecting" | "live" | "waiting", reason: the status of a refusal, until: when it is tried again}. */
  constructor(address, tell) {
    this.#address = address;
    this.#tell = tell;
  }

  /** Watch *topic* too. *handlers*: what to do with its events, by their names without the topic. */
  watch(topic, handlers) {
    this.#topics.set(topic, handlers);
    this.#openIn(0);
  }

  /** Watch *topic* no longer, and forget where it was. */
  leave(topic) {
    this.over(topic);
    this.#openIn(0);
  }

  /** Take note that *topic* has ended: the server tells no more of it, and of the others as before. */
  over(topic) {
    this.#topics.delete(topic);
    this.#left.add(topic);
  }

  /** Connect now, whatever was planned. */
  open() {
    clearTimeout(this.#opening);
    this.#opening = 0;
    this.#tell({ is: "connecting" });
    const source = new EventSource(this.#url());
    this.#sources.push(source);
    this.#lastId = new URL(source.url).searchParams.get("last_event_id") ?? "";
    this.#left.clear();
    source.onopen = () => this.#opened(source);
    source.onerror = () => this.#failed(source);
    for (const [topic, handlers] of this.#topics) {
      for (const [name, handle] of Object.entries(handlers)) {
        source.addEventListener(name ? `${topic}:${name}` : topic, (event) => this.#take(source, event, handle));
      }
    }
  }

  /** Be connected no longer. */
  close() {
    clearTimeout(this.#opening);
    this.#opening = 0;
    for (const source of this.#sources.splice(0)) source.close();
  }

  /** Say whether the next attempt is still to come, so that there may be a reason to hurry it. */
  get isWaiting() {
    return this.#opening !== 0;
  }

  /** Connect after *wait* ms: with none once for all topics that come and go in this turn. */
  #openIn(wait) {
    clearTimeout(this.#opening);
    this.#opening = setTimeout(() => this.open(), wait);
  }

  #isLast(source) {
    return source === this.#sources.at(-1);
  }

  #opened(source) {
    if (!this.#isLast(source)) return;
    for (const former of this.#sources.splice(0, this.#sources.length - 1)) former.close();
    this.#tell({ is: "live" });
  }

  #take(source, event, handle) {
    if (!this.#isLast(source)) return; // the last one tells it too
    if (event.lastEventId) this.#lastId = event.lastEventId;
    this.#failures = 0;
    handle(event.data);
  }

  #url() {
    const [path, parameters] = this.#address.split("?");
    const query = new URLSearchParams(parameters);
    for (const topic of this.#topics.keys()) query.append("topic", topic);
    const ids = new URLSearchParams(this.#lastId);
    const isKept = ([topic]) => this.#topics.has(topic) && !this.#left.has(topic);
    const kept = new URLSearchParams([...ids].filter(isKept)).toString();
    if (kept) query.set("last_event_id", kept);
    return `${path}?${query}`;
  }

  async #failed(source) {
    const wasRefused = source.readyState === EventSource.CLOSED;
    source.close();
    if (!this.#isLast(source)) return;
    const { status, detail } = wasRefused ? await whyRefused(source.url) : { status: 0 };
    if (!this.#isLast(source)) return;
    this.close();
    if (NOT_UNDERSTOOD.includes(status) && this.#blame(detail)) this.open();
    else this.#wait(status);
  }

  #wait(reason) {
    const wait = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.#openIn(wait);
    this.#tell({ is: "waiting", until: Date.now() + wait, reason });
  }

  /** Take the newest topic for the reason of a refusal, if it is one that may end; say whether there was one. */
  #blame(detail) {
    const [topic, handlers] = [...this.#topics].at(-1);
    handlers.error?.(JSON.stringify({ detail }));
    return !this.#topics.has(topic);
  }
}

/** Return why an EventSource was refused, which it does not tell: the answer to the same request, made once more. */
async function whyRefused(url) {
  const leaving = new AbortController();
  const patience = setTimeout(() => leaving.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(url, { signal: leaving.signal, cache: "no-store" });
    if (answer.ok) return { status: 0 };
    const problem = await answer.json().catch(() => ({}));
    return { status: answer.status, detail: problem.detail ?? `The server answers ${answer.status}.` };
  } catch {
    return { status: 0 };
  } finally {
    clearTimeout(patience);
    leaving.abort();
  }
}
