// Suggests the names in the folder that is being typed, from the same listing that everybody may read.

import { element } from "./dom.js";

const PAUSE_MS = 150;
const MOST = 200;

/** Fill *list* (a datalist) with what begins like the text of *field*; with *folders*, with folders only. */
export function suggest(field, list, folders = false) {
  let listed = null;
  let pause = 0;

  async function look() {
    const folder = field.value.slice(0, field.value.lastIndexOf("/") + 1);
    if (folder === listed) return;
    listed = folder;
    const entries = await entriesOf(folder);
    if (folder !== listed) return; // typed on meanwhile
    const fit = entries.filter(({ kind }) => kind === "directory" || !folders);
    list.replaceChildren(...fit.map(({ name, kind }) => option(folder + name + (kind === "directory" ? "/" : ""))));
  }

  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(look, PAUSE_MS);
  });
  field.addEventListener("focus", look);
}

function option(value) {
  return element("option", { value });
}

async function entriesOf(folder) {
  const path = folder.split("/").map(encodeURIComponent).join("/");
  try {
    const answer = await fetch(`api/files/${path}?limit=${MOST}`);
    return answer.ok ? (await answer.json()).entries : [];
  } catch {
    return []; // a suggestion less
  }
}
