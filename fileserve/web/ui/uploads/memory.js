// What was begun and has not ended: where each upload is on the server, kept by the browser over a reload.

const PREFIX = "fileserve-upload:";

/** A storage of addresses as tus-js-client wants it. An upload is known again by folder, name, size and date of its file. */
export class Memory {
  #endpoint;
  #kept = new Map(); // key → record, for browsers that keep nothing

  constructor(endpoint) {
    this.#endpoint = endpoint;
  }

  fingerprint({ folder, name, size, lastModified }) {
    return JSON.stringify([this.#endpoint, folder, name, size, lastModified]);
  }

  async addUpload(fingerprint, { uploadUrl }) {
    const key = PREFIX + fingerprint;
    this.#kept.set(key, { uploadUrl, urlStorageKey: key });
    try {
      localStorage.setItem(key, uploadUrl);
    } catch {
      // full, or not allowed: then it goes on after a break, but not after a reload
    }
    return key;
  }

  async findUploadsByFingerprint(fingerprint) {
    const key = PREFIX + fingerprint;
    const uploadUrl = this.#kept.get(key)?.uploadUrl ?? stored(key);
    return uploadUrl ? [{ uploadUrl, urlStorageKey: key }] : [];
  }

  async removeUpload(key) {
    this.#kept.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      // what cannot be read cannot be left behind
    }
  }

  /** Return what is remembered of uploads to *folder* and to what lies below it. */
  below(folder) {
    return storedKeys().flatMap((key) => {
      const [endpoint, into, name, size, lastModified] = parsed(key.slice(PREFIX.length));
      const isBelow = !folder || into === folder || `${into}`.startsWith(`${folder}/`);
      return endpoint === this.#endpoint && isBelow ? [{ folder: into, name, size, lastModified, url: stored(key), key }] : [];
    });
  }
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function storedKeys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch {
    return [];
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}
