// The listing, as it is now: the page is fetched again, and its table put in the place of the one that is shown.

import { painter } from "../frame.js";

const PACE_MS = 2000;
const AWAY_MS = 5000;
const PARTS = [".count", "main > table", "main > .pages"];

/** Return a function that has the listing shown anew, soon; however often it is called, once in a while. */
export function refresher() {
  const request = painter(() => refresh().catch(() => setTimeout(request, AWAY_MS)), PACE_MS);
  return request;
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  // Nobody else's text becomes markup here: it is this server's page, read as it was when it was opened.
  const now = new DOMParser().parseFromString(await answer.text(), "text/html");
  const focused = document.activeElement?.closest("main > table a")?.getAttribute("href");
  PARTS.forEach((selector) => replace(document.querySelector(selector), now.querySelector(selector)));
  if (focused) [...document.querySelectorAll("main > table a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

function replace(shown, now) {
  if (shown && now) shown.replaceWith(document.adoptNode(now));
  else if (shown) shown.remove();
  else if (now) document.querySelector("main").append(document.adoptNode(now));
}
