// What has changed is drawn once, at the next frame: never for each event, and not at all in a hidden tab.

/** Return a function that asks for *paint*: however often it is called, once in a frame and in *paceMs*. */
export function painter(paint, paceMs = 0) {
  let isDue = false;
  let last = -Infinity;

  function run() {
    isDue = false;
    last = performance.now();
    paint();
  }

  return function request() {
    if (isDue) return;
    isDue = true;
    const early = last + paceMs - performance.now();
    if (early > 0) setTimeout(() => requestAnimationFrame(run), early);
    else requestAnimationFrame(run);
  };
}
