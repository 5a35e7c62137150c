// The rate of the last two minutes as a line. A picture beside a figure that is also written; it has no text.

import { painter } from "./frame.js";

const SAMPLES = 120;
const EACH_MS = 1000;
const HEIGHT = 32;

/** Draw what *measure* returns, once a second, into the *line* and the *area* beneath it (SVG paths). */
export function sparkline(line, area, measure) {
  const samples = [];

  const request = painter(() => {
    const top = Math.max(...samples, 1);
    const points = samples.map((sample, at) => {
      const x = SAMPLES - samples.length + at;
      return `${x},${(HEIGHT - 1 - (sample / top) * (HEIGHT - 3)).toFixed(1)}`;
    });
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M${SAMPLES - samples.length},${HEIGHT}L${points.join("L")}L${SAMPLES - 1},${HEIGHT}Z`);
  });

  setInterval(() => {
    samples.push(measure());
    if (samples.length > SAMPLES) samples.shift();
    request();
  }, EACH_MS);
}
