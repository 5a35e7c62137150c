// Where files come in: buttons that open the browser's dialogues, and the whole page for what is dropped on it.

import { find, setText, visible } from "../dom.js";
import { chosen, dropped } from "./gather.js";

/** Have *take* called with what a person chooses or drops, as `gather` yields it; *name* is that of the folder. */
export function openPlace(name, take) {
  find("#uploads-form").hidden = true;
  find("#uploads-place").hidden = false;
  choosing("#uploads-choose", "#uploads-chosen", take);
  choosing("#uploads-choose-folder", "#uploads-chosen-folder", take);
  find("#uploads-choose-folder").hidden = !("webkitdirectory" in HTMLInputElement.prototype);
  const over = find("#uploads-over");
  setText(find("p", over), `Drop to upload to ${visible(name)}`);
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) over.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) over.hidden = true;
  });
  addEventListener("drop", (event) => {
    over.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    take(dropped(event.dataTransfer));
  });
}

function choosing(button, input, take) {
  const field = find(input);
  find(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    take(chosen([...field.files]));
    field.value = ""; // so that the same file can be chosen again
  });
}

function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files");
}
