// Why an upload stands still, in plain words, and what can be done: one table for all that a server answers.

import { size } from "../format.js";

const LONGEST_DETAIL = 300;
const NO_FOLDER = "There is no such directory";
const NO_NAME = "Names that begin with";
const LONG_BYTES = /\b(\d{4,}) bytes\b/g;

/** What the server answered, where something else than tus-js-client asked. */
export class Refused extends Error {
  constructor(status, method, body = "") {
    super(`${method} was answered ${status}`);
    Object.assign(this, { status, method, body });
  }
}

/** The file on this computer is not what it was, or not there. */
export class Unreadable extends Error {}

/**
 * Return what to do about *error*: `is` one of
 *   "away", "busy": it goes on by itself, after a while
 *   "gone":         the server has forgotten it; it begins again
 *   "taken":        a person says what becomes of the name
 *   "unreadable":   a person chooses the file again
 *   "refused":      a person mends something, and tries again
 *   "never":        no trying helps
 * and `sentence`, which says it.
 */
export function reasonOf(error) {
  if (error instanceof Unreadable) return { is: "unreadable", sentence: "The file on this computer has changed, or is gone. Choose it again." };
  const { status, method, body, offset } = answered(error);
  const detail = detailOf(body);
  if (status === 0) return { is: "away", sentence: navigator.onLine ? "The server cannot be reached." : "The network is away." };
  if (method === "PATCH" && (status === 404 || status === 410)) return { is: "gone", sentence: "The server has forgotten this upload; it begins again." };
  if (method === "PATCH" && status === 409 && offset) return { is: "busy", sentence: "Finding out how much the server has." };
  if (status in BUSY) return { is: "busy", sentence: BUSY[status] };
  if (status === 412 || (status === 409 && !detail.startsWith(NO_FOLDER))) return { is: "taken", sentence: "The name is taken." };
  if (status === 409) return { is: "refused", sentence: "The folder is gone. Reload the page." };
  if (status === 403 && detail.startsWith(NO_NAME)) return { is: "never", sentence: detail };
  if (status in REFUSED) return { is: "refused", sentence: joined(REFUSED[status], detail) };
  if (status >= 500) return { is: "busy", sentence: `The server has a problem (${status}).` };
  return { is: "refused", sentence: joined(`The server does not take this (${status}).`, detail) };
}

const BUSY = {
  408: "The connection was too slow.",
  423: "Something else is sending this file, perhaps another tab.",
  425: "The server is not ready.",
  429: "The server takes no more uploads from here just now.",
  502: "The server cannot be reached.",
  503: "The server takes no more uploads just now.",
  504: "The server cannot be reached.",
};

const REFUSED = {
  400: "The server does not take this file.",
  401: "Your name and password are needed. Try again, and the browser asks for them.",
  403: "You may not upload this here.",
  404: "The folder is gone, or the name cannot be used here.",
  413: "The file is too large.",
  422: "The server does not take this file.",
  507: "The server’s disk is full. Make room on it, then try again.",
};

/** tus-js-client tells of a refusal by its answer, or by what was thrown while it looked at one. */
function answered(error) {
  if (error instanceof Refused) return error;
  if (error.causingError instanceof Refused) return error.causingError;
  const response = error.originalResponse;
  return {
    status: response?.getStatus() ?? 0,
    method: error.originalRequest?.getMethod() ?? "",
    body: response?.getBody() ?? "",
    offset: response?.getHeader("Upload-Offset"),
  };
}

function detailOf(body) {
  try {
    const { detail } = JSON.parse(body);
    return typeof detail === "string" ? detail.slice(0, LONGEST_DETAIL).replace(LONG_BYTES, (_, bytes) => size(Number(bytes))) : "";
  } catch {
    return "";
  }
}

function joined(sentence, detail) {
  return detail && detail !== sentence ? `${sentence} ${detail}` : sentence;
}
