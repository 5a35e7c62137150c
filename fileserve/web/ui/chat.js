// Questions about the files, and answers as they are typed. The newest of them are kept, until the page is left.

import { announce } from "./announce.js";
import { element, find, setText } from "./dom.js";
import { messages } from "./stream.js";
import { Typewriter } from "./typewriter.js";

const MOST = 20;
const NEAR_PX = 24;
const SPOKEN = 600; // characters of an answer that are read out

export class Chat {
  #view = find("#chat-lines");
  #field = find("#chat-question");
  #ask = find("#chat-ask");
  #stop = find("#chat-stop");
  #stopping = null;

  constructor() {
    find("#chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const question = this.#field.value.trim();
      if (question && !this.#stopping) this.#answer(question, find("#chat-folder").value.trim());
    });
    this.#stop.addEventListener("click", () => this.#stopping?.abort());
  }

  async #answer(question, folder) {
    this.#stopping = new AbortController();
    this.#field.value = "";
    this.#busy(true);
    const sheet = this.#begin(question, folder);
    const typewriter = new Typewriter(sheet, () => this.#settle());
    const { signal } = this.#stopping;
    signal.addEventListener("abort", () => typewriter.hurry());
    const end = await ask(question, folder, signal, (text) => typewriter.write(text));
    await typewriter.finished();
    if (end) sheet.append(element("p", { class: "end" }, end));
    this.#stopping = null;
    this.#busy(false);
    this.#settle();
    announce(`Answer: ${sheet.textContent.slice(0, SPOKEN)}`);
    this.#field.focus();
  }

  #begin(question, folder) {
    const sheet = element("div", { class: "answer" });
    const where = folder ? [" ", element("span", { class: "where" }, `in ${folder}`)] : [];
    this.#view.append(element("article", {}, element("h3", {}, question, ...where), sheet));
    while (this.#view.childElementCount > MOST) this.#view.firstElementChild.remove();
    find("#chat-empty").hidden = true;
    this.#view.scrollTop = this.#view.scrollHeight;
    return sheet;
  }

  #busy(isBusy) {
    this.#view.setAttribute("aria-busy", isBusy);
    this.#ask.hidden = isBusy;
    this.#stop.hidden = !isBusy;
  }

  #settle() {
    const view = this.#view;
    const left = view.scrollHeight - view.scrollTop - view.clientHeight;
    if (left < 4 * NEAR_PX) view.scrollTop = view.scrollHeight;
  }
}

/** Ask, pass each piece of the answer to *write*, and return in words what kept it from its end; "" if nothing did. */
async function ask(msg, dir, signal, write) {
  try {
    const body = JSON.stringify(dir ? { msg, dir } : { msg });
    const response = await fetch("chat", { method: "POST", headers: { "content-type": "application/json" }, body, signal });
    if (!response.ok) return await refusal(response);
    for await (const data of messages(response)) {
      if (data === "[DONE]") break;
      const message = JSON.parse(data);
      if (message.type === "token") write(message.content);
      if (message.type === "error") return message.detail;
      if (message.type === "done") return message.truncated ? "The answer was cut here: it is as long as one may be." : "";
    }
    return "The answer broke off. Ask again.";
  } catch (error) {
    return error.name === "AbortError" ? "Stopped." : "The server cannot be reached. Ask again in a moment.";
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return problem.detail ?? `The server answers ${response.status}.`;
}
