// Figures for people: binary sizes of three figures as on the listing pages, rates, times that pass, times of day.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 999 → "999 B", 1536 → "1.5 KiB" */
export function size(bytes) {
  let amount = Math.max(0, bytes);
  let unit = 0;
  while (amount >= 999.5 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const figures = unit === 0 || amount >= 99.95 ? amount.toFixed(0) : amount.toFixed(1).replace(/\.0$/, "");
  return `${figures} ${UNITS[unit]}`;
}

/** 22 GiB, 51 GiB → "22 of 51 GiB" */
export function amount(bytes, whole) {
  const [figures, unit] = size(bytes).split(" ");
  return size(whole).endsWith(` ${unit}`) ? `${figures} of ${size(whole)}` : `${figures} ${unit} of ${size(whole)}`;
}

/** Bytes per second. One decimal always, so that a column of them does not jump. */
export function rate(bytesPerSecond) {
  const [figures, unit] = size(bytesPerSecond).split(" ");
  return unit === "B" || figures.includes(".") || figures.length > 2 ? `${figures} ${unit}/s` : `${figures}.0 ${unit}/s`;
}

/** 0.42 → "0.4 s", 81 → "1 min 21 s", 7500 → "2 h 5 min", 200000 → "2 d 7 h" */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** A share of one, in percent. Rounded down: 100 % is said of what is complete, and of nothing else. */
export function percent(share) {
  return `${Math.floor(100 * Math.min(1, Math.max(0, share)))} %`;
}

/** The time of day where the browser is, of seconds since 1970: "14:03:12" */
export function clock(seconds) {
  const time = new Date(1000 * seconds);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => `${part}`.padStart(2, "0")).join(":");
}

/** 1, "connection" → "1 connection"; 4, "connection" → "4 connections" */
export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}
