// What a screen reader is told without being asked: ends and breaks, never progress. What comes together is said together.

import { find, setText } from "./dom.js";

const GATHER_MS = 1000;
const MOST = 3;

const waiting = [];

/** Have *sentence* read out when the reader has a moment. */
export function announce(sentence) {
  waiting.push(sentence);
  if (waiting.length === 1) setTimeout(say, GATHER_MS);
}

function say() {
  const more = waiting.length > MOST ? ` And ${waiting.length - MOST} more.` : "";
  setText(find("#announcements"), waiting.slice(0, MOST).join(" ") + more);
  waiting.length = 0;
}
