// Bars and lines. What they show stands beside them as text, so that they are hidden from screen readers.

import { drawn } from "./dom.js";

export const HISTORY_MS = 120_000;
// Longer between two points, and the line is broken: nobody has looked meanwhile.
const GAP_MS = 4_000;
const WIDTH = 240;
const HEIGHT = 60;

/** A share from 0 to 1 as a bar; with a spread, a band around its end. */
export class Bar {
  constructor() {
    this.band = drawn("rect", { class: "band", height: 8, width: 0 });
    this.value = drawn("rect", { class: "value", height: 8, width: 0 });
    const track = drawn("rect", { class: "track", width: 100, height: 8 });
    const frame = { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" };
    this.node = drawn("svg", frame, track, this.value, this.band);
  }

  show(share, spread = 0) {
    const low = Math.max(0, share - spread);
    this.value.setAttribute("width", 100 * Math.min(1, share));
    this.band.setAttribute("x", 100 * low);
    this.band.setAttribute("width", 100 * (Math.min(1, share + spread) - low));
  }
}

/** The last two minutes of a number as a line, and of its spread as a band. */
export class Chart {
  /** node: an svg of the page, or nothing for a new one; least: what the height is worth at least. */
  constructor(least, node = drawn("svg", { class: "chart", "aria-hidden": "true" })) {
    this.node = node;
    this.least = least;
    this.points = [];
    node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    node.setAttribute("preserveAspectRatio", "none");
    this.band = drawn("path", { class: "band" });
    this.line = drawn("path", { class: "line" });
    const ground = drawn("path", { class: "ground", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
    node.replaceChildren(ground, this.band, this.line);
  }

  /** Another point, or none where value is null. at: milliseconds. */
  add(at, value, spread = 0) {
    if (value !== null) this.points.push({ at, low: value - spread, value, high: value + spread });
    while (this.points.length && this.points[0].at < at - HISTORY_MS) this.points.shift();
    this.draw(at);
  }

  /** The least and the greatest value, null without any. */
  get range() {
    if (!this.points.length) return null;
    return [Math.min(...this.points.map((p) => p.value)), Math.max(...this.points.map((p) => p.value))];
  }

  draw(now) {
    const low = Math.min(...this.points.map((p) => p.low));
    const high = Math.max(...this.points.map((p) => p.high));
    const height = Math.max(high - low, this.least);
    const bottom = (low + high - height) / 2;
    const x = (p) => (WIDTH * (1 + (p.at - now) / HISTORY_MS)).toFixed(1);
    const y = (value) => (HEIGHT - 3 - ((HEIGHT - 6) * (value - bottom)) / height).toFixed(1);
    const stretches = this.stretches();
    const along = (points, of) => points.map((p) => `${x(p)} ${y(of(p))}`).join("L");
    const lines = stretches.map((points) => `M${along(points, (p) => p.value)}h0.1`);
    const bands = stretches.map((points) => {
      const back = along([...points].reverse(), (p) => p.low);
      return `M${along(points, (p) => p.high)}L${back}Z`;
    });
    this.line.setAttribute("d", lines.join(""));
    this.band.setAttribute("d", bands.join(""));
  }

  /** The points, apart where nobody has looked for a while. */
  stretches() {
    const found = [];
    let before = -Infinity;
    for (const point of this.points) {
      if (point.at - before > GAP_MS) found.push([]);
      found.at(-1).push(point);
      before = point.at;
    }
    return found;
  }
}
