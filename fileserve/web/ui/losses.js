// The words for what an event stream says it could not tell.

const REASONS = {
  slow: "This page did not keep up, and something was left out here.",
  forgotten: "More happened meanwhile than the server keeps; some of it is missing here.",
  truncated: "The file was cut short. Lines may be missing here.",
  replaced: "Another file has taken this name. Lines of the old one may be missing here.",
  rotated: "The file was rotated while nobody watched. Lines may be missing here.",
};

/** Return what the data of a `lost` event says. */
export function loss(data) {
  const { reason } = JSON.parse(data);
  return REASONS[reason] ?? `Lines may be missing here (${reason}).`;
}
