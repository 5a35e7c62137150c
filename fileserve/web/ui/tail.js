// A file that is followed: its lines as they are written, and in words where some may be missing.

import { element, find, setText, visible } from "./dom.js";
import { topicOf } from "./feed.js";
import { Lines } from "./lines.js";
import { loss } from "./losses.js";

const MOST = 1000;

export class Tail {
  #feed;
  #path = "";
  #field = find("#tail-path");
  #stop = find("#tail-stop");
  #empty = find("#tail-empty");
  #lines = new Lines(find("#tail-lines"), find("#tail-jump"), MOST);

  /** *chosen* is called with the path, or with "" when no file is followed any more. */
  constructor(feed, chosen) {
    this.#feed = feed;
    find("#tail-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.follow(this.#field.value);
      chosen(this.#path);
    });
    this.#stop.addEventListener("click", () => {
      this.leave();
      chosen("");
      this.#field.focus();
    });
  }

  /** Follow the file whose path was *typed*, and no other. */
  follow(typed) {
    const path = typed.trim().replace(/^\/+/, "");
    this.leave();
    if (!path) return;
    this.#path = path;
    this.#field.value = path;
    this.#lines.clear();
    this.#feed.watch(topicOf("tail", path), {
      "": (data) => this.#line(data),
      part: (data) => this.#line(data, "part"),
      lost: (data) => this.#notice(loss(data)),
      reset: () => this.#anew(),
      error: (data) => this.#failed(JSON.parse(data).detail),
    });
    this.#show(`Following ${visible(path)}. New lines appear here.`);
  }

  /** Follow no file; what has come stays to be read. */
  leave() {
    if (this.#path) this.#feed.leave(topicOf("tail", this.#path));
    this.#idle();
  }

  #idle() {
    this.#path = "";
    this.#show("Choose a file beneath the served folder, such as logs/app.log, to see its lines as they are written.");
  }

  #line(text, kind = "") {
    this.#empty.hidden = true;
    this.#lines.add(element("p", { class: `line ${kind}` }, visible(text)));
  }

  #notice(sentence) {
    this.#empty.hidden = true;
    this.#lines.add(element("p", { class: "line notice" }, sentence));
  }

  #anew() {
    this.#lines.clear();
    this.#notice("The place in the file was not found again; its lines begin anew here.");
  }

  #failed(detail) {
    this.#feed.over(topicOf("tail", this.#path));
    this.#idle();
    this.#notice(detail);
  }

  #show(invitation) {
    this.#stop.hidden = !this.#path;
    setText(this.#empty, invitation);
  }
}
