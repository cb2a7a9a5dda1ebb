// What is shown of all agents together.

import { Bar, Chart } from "./charts.js";
import { Rows, at, number, row, say } from "./dom.js";

// Heights of charts: less than that is no change to speak of.
const LEAST_LEVEL = 0.1;
const LEAST_NATS = 0.5;

const energy = new Chart(LEAST_NATS, at("energy-chart"));
const modulators = new Rows(at("modulators"), (name) => {
  const bar = new Bar();
  const chart = new Chart(LEAST_LEVEL);
  return { ...row(name, bar.node, chart.node), bar, chart };
});
const workspace = new Rows(at("workspace"), (name) => {
  const bar = new Bar();
  return { ...row(name, bar.node), bar };
});

/** Show what the organism's overview says. now: milliseconds. */
export function showOverview(seen, now) {
  say(at("agents-total"), number(seen.agents));
  say(at("steps"), number(seen.steps));
  say(at("free-energy"), number(seen.free_energy, 3));
  energy.add(now, seen.free_energy);
  const range = energy.range;
  say(at("energy-range"), range ? `from ${number(range[0], 3)} to ${number(range[1], 3)}` : "");
  showModulators(seen.modulators ?? {}, now);
  showWorkspace(seen.workspace ?? []);
}

/** Show how many machines there are; null where the cluster does not say. */
export function showNodes(nodes) {
  say(at("nodes-alive"), number(nodes?.alive));
  say(at("nodes-dead"), number(nodes?.dead));
  at("nodes-dead").toggleAttribute("data-some", Boolean(nodes?.dead));
}

function showModulators(levels, now) {
  for (const [i, each] of modulators.of(Object.keys(levels)).entries()) {
    const { mean, spread } = Object.values(levels)[i];
    say(each.said, `${number(mean, 3)} ± ${number(spread, 3)}`);
    each.bar.show(mean, spread);
    each.chart.add(now, mean, spread);
  }
}

function showWorkspace(contents) {
  for (const [i, each] of workspace.of(contents.map((content) => content.modality)).entries()) {
    const { share, salience } = contents[i];
    const strength = salience === null ? "" : `, salience ${number(salience, 2)}`;
    say(each.said, `${number(100 * share, share > 0 && share < 0.1 ? 1 : 0)} %${strength}`);
    each.bar.show(share);
  }
}
