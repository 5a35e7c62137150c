// Uploads on the page of a folder: what a person drops or chooses is queued, sent in pieces that go on after any break,
// and shown in the listing once it is stored.

import { announce } from "../announce.js";
import { find, setText, visible } from "../dom.js";
import { count } from "../format.js";
import { Folders } from "./folders.js";
import { Memory } from "./memory.js";
import { Panel } from "./panel.js";
import { openPlace } from "./place.js";
import { Queue } from "./queue.js";
import { refresher } from "./refresh.js";
import { Upload } from "./upload.js";

const MOST_REMEMBERED = 50;

const told = find("#uploads").dataset;
const endpoint = new URL(told.uploads, location).href;
const site = {
  folder: told.folder,
  endpoint,
  mayReplace: told.replace === "true",
  memory: new Memory(endpoint),
  folders: new Folders(new URL(told.files, location).href, told.folder),
  changed,
};
const queue = new Queue();
const panel = new Panel(site, queue, chooseAgain);
const refresh = refresher();

function changed(upload) {
  const hasMoved = queue.moved(upload);
  panel.changed(upload, hasMoved);
  if (hasMoved && upload.state === "done") refresh();
}

/** Queue all that *gathered* yields. Hidden files in folders are left out where the server would not take them. */
async function take(gathered) {
  let [taken, left] = [0, 0];
  try {
    for await (const { folders, file } of gathered) {
      const names = [...folders, file?.name].filter((name) => name !== undefined);
      if (folders.length && told.hidden !== "true" && names.some((name) => name.startsWith("."))) left += 1;
      else if (file) taken += queued(within(folders), file);
      else site.folders.make(within(folders)).then(refresh, () => say(`The folder ${visible(folders.join("/"))} was not made.`));
    }
  } catch {
    say("Some files could not be read.");
  }
  if (taken) announce(`${count(taken, "file")} to upload.`);
  if (left) say(`${count(left, "hidden file")} left out.`);
}

/** Show *sentence* beside the list, and have it read out. */
function say(sentence) {
  setText(find("#queue-note"), sentence);
  find("#queue-note").hidden = false;
  announce(sentence);
}

function within(folders) {
  return [told.folder, ...folders].filter(Boolean).join("/");
}

/** Queue *file*, or give it to the upload that misses it; return how many that makes: none of one that is on its way. */
function queued(folder, file) {
  const same = queue.named(folder, file.name);
  if (same && !["missing", "refused"].includes(same.state)) return 0;
  if (same?.give(file)) return 1;
  same?.cancel();
  changed(new Upload(site, folder, file.name, file, file));
  return 1;
}

/** Have the file chosen that *upload* goes on with. */
function chooseAgain(upload) {
  const field = document.createElement("input");
  field.type = "file";
  field.addEventListener("change", () => {
    const [file] = field.files;
    if (upload.give(file)) return;
    if (upload.state === "missing") announce(upload.reason.sentence);
    else queued(upload.folder, file);
  });
  field.click();
}

/** Show what an earlier visit to this page has left unfinished, unless another tab is at it. */
async function remember() {
  for (const record of site.memory.below(told.folder).slice(0, MOST_REMEMBERED)) {
    const answer = await fetch(record.url, { method: "HEAD", headers: { "tus-resumable": "1.0.0" } }).catch(() => null);
    if (answer?.status === 404 || answer?.status === 410) site.memory.removeUpload(record.key);
    if (!answer?.ok) continue;
    const upload = new Upload(site, record.folder, record.name, record);
    upload.sent = Number(answer.headers.get("upload-offset"));
    if (upload.sent < upload.size) changed(upload);
    else site.memory.removeUpload(record.key); // stored, by now at the latest: the server makes sure before it says so
  }
}

openPlace(told.folder.split("/").at(-1) || "Files", take);
remember();

// A network that is there again is a reason not to wait any longer.
addEventListener("online", () => queue.in("resting").forEach((upload) => upload.hurry()));
addEventListener("beforeunload", (event) => {
  if (queue.isBusy) event.preventDefault();
});
