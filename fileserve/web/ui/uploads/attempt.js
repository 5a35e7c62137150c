// One attempt to send what the server has not got yet of a file: it succeeds, fails or is stopped, and is then over.

import { Refused, Unreadable } from "./reasons.js";

// A proxy may take requests of 100 MB at the most, or pass on whole ones only: what has arrived by then is kept.
const CHUNK = 64 * 1024 * 1024;
const FOUND = [404, 410, 423]; // what tus-js-client makes the right thing of
const ENDED_MS = [200, 500, 1000, 3000, 10_000];

export class Attempt {
  #site;
  #client = null;
  #isOver = false;

  /** *site* has `endpoint`, `memory` and `folders`. */
  constructor(site) {
    this.#site = site;
  }

  /**
   * Send *file* as *upload* says, which has `folder`, `name` and `replaces`. Of *on*, `moved` is called with the bytes
   * that are sent, and then `failed` with an error, or `ended`.
   */
  async begin(file, upload, on) {
    const { endpoint, memory, folders } = this.#site;
    const failed = (error) => this.#end(() => on.failed(error));
    try {
      await readable(file);
      await folders.make(upload.folder);
      const [begun] = await memory.findUploadsByFingerprint(memory.fingerprint(upload));
      if (this.#isOver) return;
      this.#client = new tus.Upload(file, {
        endpoint,
        metadata: { filename: upload.name, ...(upload.folder && { dir: upload.folder }) },
        chunkSize: CHUNK,
        retryDelays: null, // when to try again is told to the person, and so decided here
        urlStorage: memory,
        fingerprint: async () => memory.fingerprint(upload),
        removeFingerprintOnSuccess: true,
        onBeforeRequest: (request) => {
          if (request.getMethod() === "POST" && !upload.replaces) request.setHeader("If-None-Match", "*");
        },
        onAfterResponse: keepWhatIsThere,
        onProgress: (sent) => this.#isOver || on.moved(sent),
        onError: failed,
        onSuccess: () => this.#end(on.ended),
      });
      if (begun) this.#client.resumeFromPreviousUpload(begun);
      this.#client.start();
    } catch (error) {
      failed(error);
    }
  }

  /** Send no more; nothing is heard of it any more. */
  stop() {
    this.#isOver = true;
    this.#client?.abort();
  }

  #end(tell) {
    if (this.#isOver) return;
    this.#isOver = true;
    tell();
  }
}

/** Have the server forget *upload*, and forget it here. */
export async function giveUp(upload, { memory }) {
  for (const { uploadUrl, urlStorageKey } of await memory.findUploadsByFingerprint(memory.fingerprint(upload))) {
    memory.removeUpload(urlStorageKey);
    const options = { ...tus.defaultOptions, retryDelays: ENDED_MS }; // until it has seen that nobody sends any more
    await tus.Upload.terminate(uploadUrl, options).catch(() => {}); // the server forgets it by itself, later
  }
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
