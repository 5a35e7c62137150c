// The folders that uploads are for, made on the server before the first file that needs them.

import { Refused } from "./reasons.js";

export class Folders {
  #files;
  #top;
  #made = new Map(); // path → when it is there

  /** *files* is the address of the API of files, *top* the folder of this page, which is there. */
  constructor(files, top) {
    this.#files = files;
    this.#top = top;
  }

  /** Resolve when there is a folder at *path*, with those on the way. */
  make(path) {
    if (path.length <= this.#top.length) return Promise.resolve();
    if (!this.#made.has(path)) {
      const made = this.#ask(path);
      this.#made.set(path, made);
      made.catch(() => this.#made.delete(path));
    }
    return this.#made.get(path);
  }

  async #ask(path) {
    await this.make(path.split("/").slice(0, -1).join("/"));
    const address = this.#files + path.split("/").map((name) => encodeURIComponent(name.toWellFormed?.() ?? name)).join("/");
    const made = await fetch(address, { method: "MKCOL" });
    if (made.ok) return;
    const body = await made.text();
    if (made.status === 409 && (await isFolder(address))) return;
    throw new Refused(made.status === 409 ? 400 : made.status, "MKCOL", body);
  }
}

async function isFolder(address) {
  const told = await fetch(`${address}?limit=1`);
  return told.ok && (await told.json()).kind === "directory";
}
