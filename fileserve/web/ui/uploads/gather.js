// What a person drops or chooses, as files with the folders that they lie in: whole folders, to any depth.

/**
 * Yield `{folders, file}` for each file, and `{folders}` for each folder without any; *folders* are names, outermost first.
 * To be called in the event of the drop: after it, the browser has forgotten what was dropped.
 */
export function dropped(transfer) {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return within(entries.filter(Boolean), []);
}

/** The same of the files that were chosen in an input. */
export async function* chosen(files) {
  for (const file of files) yield { folders: file.webkitRelativePath.split("/").slice(0, -1), file };
}

async function* within(entries, folders) {
  for (const entry of entries) {
    if (entry instanceof File) yield { folders, file: entry };
    else if (entry.isFile) yield { folders, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) };
    else yield* folder(entry, [...folders, entry.name]);
  }
}

async function* folder(entry, folders) {
  const reader = entry.createReader();
  const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  let isEmpty = true;
  for (let entries = await read(); entries.length > 0; entries = await read()) { // a hundred at a time
    isEmpty = false;
    yield* within(entries, folders);
  }
  if (isEmpty) yield { folders };
}
