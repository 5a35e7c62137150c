// A file that is followed: its lines as they are written, and in words where some may be missing.

import { Chooser } from "./chooser.js";
import { element, find, setText, visible } from "./dom.js";
import { Lines } from "./lines.js";
import { loss } from "./losses.js";
import { topicOf } from "./receiver.js";

const MOST = 1000;
const INVITATION = "Choose a file beneath the served folder, such as logs/app.log, to see its lines as they are written.";

export class Tail {
  #receiver;
  #path = "";
  #chooser;
  #empty = find("#tail-empty");
  #lines = new Lines(find("#tail-lines"), find("#tail-jump"), MOST);

  /** *chosen* is called with the path, or with "" when no file is followed any more. */
  constructor(receiver, chosen) {
    this.#receiver = receiver;
    this.#chooser = new Chooser("tail", (path) => {
      this.follow(path);
      chosen(path);
    });
    setText(this.#empty, INVITATION);
  }

  /** Follow the file at *path*, and no other; with "", none: what has come stays to be read. */
  follow(path) {
    if (this.#path) this.#receiver.leave(topicOf("tail", this.#path));
    this.#now(path);
    if (!path) return;
    this.#lines.clear();
    this.#receiver.watch(topicOf("tail", path), {
      "": (data) => this.#add(data),
      part: (data) => this.#add(data, "part"),
      lost: (data) => this.#add(loss(data), "notice"),
      reset: () => this.#anew(),
      error: (data) => this.#failed(JSON.parse(data).detail),
    });
  }

  #now(path) {
    this.#path = path;
    this.#chooser.at(path);
    setText(this.#empty, path ? `Following ${visible(path)}. New lines appear here.` : INVITATION);
  }

  #add(text, kind = "") {
    this.#lines.add(element("p", { class: `line ${kind}` }, visible(text)));
  }

  #anew() {
    this.#lines.clear();
    this.#add("The place in the file was not found again; its lines begin anew here.", "notice");
  }

  #failed(detail) {
    this.#receiver.over(topicOf("tail", this.#path));
    this.#now("");
    this.#add(detail, "notice");
  }
}
