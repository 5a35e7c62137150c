// The page /live: one receiver, and the panels that show what it brings.

import { Chat } from "./chat.js";
import { Checksum } from "./checksum.js";
import { find } from "./dom.js";
import { Receiver } from "./receiver.js";
import { Log } from "./log.js";
import { sparkline } from "./sparkline.js";
import { Status } from "./status.js";
import { suggest } from "./suggest.js";
import { Tail } from "./tail.js";
import { Transfers } from "./transfers.js";

const receiver = new Receiver("events?from=-100&last=300", (state) => status.show(state));
const status = new Status(() => receiver.open());
const transfers = new Transfers();
receiver.watch("transfers", transfers.handlers);
receiver.watch("logs", new Log().handlers);
sparkline(find("#rate-line"), find("#rate-area"), () => (status.isLive ? transfers.rate : 0));

// What was chosen stands in the address, so that a reload or a bookmark shows it again.
const chosen = new URLSearchParams(location.search);
const tail = new Tail(receiver, (path) => choose("file", path));
const checksum = new Checksum(receiver, (path) => choose("checksum", path));
tail.follow(chosen.get("file") ?? "");
checksum.compute(chosen.get("checksum") ?? "");
if (document.querySelector("#chat")) {
  new Chat();
  suggest(find("#chat-folder"), find("#chat-folders"), true);
}

function choose(name, path) {
  if (path) chosen.set(name, path);
  else chosen.delete(name);
  history.replaceState(null, "", `${location.pathname}${chosen.toString() && "?"}${chosen}`);
}

// A person who looks again, or a network that is there again, is a reason not to wait any longer.
const hurry = () => receiver.isWaiting && receiver.open();
addEventListener("online", hurry);
document.addEventListener("visibilitychange", () => document.hidden || hurry());
addEventListener("pagehide", () => receiver.close());
addEventListener("pageshow", (event) => event.persisted && receiver.open());
