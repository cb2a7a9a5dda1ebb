// The list of agents, and the one that is chosen.

import { Bar } from "./charts.js";
import { at, element, number, row, say } from "./dom.js";

const FIRST = 100;
// Between questions to the service, at least; and until one is given up.
const PAUSE_MS = 1_000;
const PATIENCE_MS = 10_000;

let names = [];
let chosen = null;

/** Something that is asked for now and again, never twice at a time, and only where it may have changed. */
class Asked {
  /** ask: asks, and says whether there was an answer. */
  constructor(ask) {
    this.ask = ask;
    this.busy = false;
    this.known = undefined;
    this.last = -Infinity;
  }

  /** Ask, unless this state is known already. */
  async when(state) {
    const now = performance.now();
    if (this.busy || this.known === state || now - this.last < PAUSE_MS) return;
    this.busy = true;
    this.last = now;
    try {
      if (await this.ask()) this.known = state;
    } finally {
      this.busy = false;
    }
  }

  forget() {
    this.known = undefined;
    this.last = -Infinity;
  }
}

const list = new Asked(async () => {
  try {
    const found = await answerOf(`organism/agents?limit=${FIRST}`);
    showList(found.agents);
    const some = `The first ${number(found.agents.length)} of ${number(found.total)}.`;
    say(at("agents-said"), found.next === null ? (found.total ? "" : "There is no agent yet.") : some);
    return true;
  } catch (error) {
    say(at("agents-said"), `The agents cannot be listed: ${error.message}`);
    return false;
  }
});

const details = new Asked(async () => {
  const name = chosen;
  if (name === null) return true;
  let found = null;
  try {
    found = await answerOf(`organism/agents/${encodeURIComponent(name)}`);
    if (name === chosen) showAgent(found);
  } catch (error) {
    if (name === chosen) {
      say(at("agent-said"), `This agent cannot be shown: ${error.message}`);
      if (error.cause === 404) at("agent-details").replaceChildren();
    }
  }
  // Another one has been chosen meanwhile.
  if (name !== chosen) setTimeout(refresh);
  return found !== null;
});

function refresh() {
  details.forget();
  details.when("chosen");
}

/** Ask anew for what may have changed. seen: the organism's overview. */
export function followAgents(seen) {
  list.when(seen.agents);
  details.when(seen.steps);
}

/** What is known may be of agents that are no more. */
export function forgetAgents() {
  list.forget();
  details.forget();
}

async function answerOf(place) {
  const options = { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) };
  const response = await fetch(place, options);
  const content = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(content.detail ?? `the service answers ${response.status}`, { cause: response.status });
  }
  return content;
}

function showList(found) {
  const grown = names.every((name, i) => name === found[i]);
  // Where the list has only grown, what is there stays, and so does the place of the keyboard.
  const added = (grown ? found.slice(names.length) : found).map(choice);
  if (grown) at("agents-list").append(...added);
  else at("agents-list").replaceChildren(...added);
  names = found;
}

function choice(name) {
  const button = element("input", { type: "radio", name: "agent" });
  button.checked = name === chosen;
  button.addEventListener("change", () => choose(name));
  return element("label", {}, button, element("span", {}, name));
}

function choose(name) {
  chosen = name;
  say(at("agent-title"), name);
  say(at("agent-said"), "");
  at("agent-details").replaceChildren();
  refresh();
}

function showAgent(agent) {
  say(at("agent-said"), "");
  const action = Object.entries(agent.action ?? {}).map(([factor, what]) => said(factor, what));
  const held = agent.workspace.map((content) => measured(content.modality, content.salience));
  const parts = [
    part("Life", [said("steps", number(agent.step)), said("clock", `${number(agent.time, 1)} s`)]),
    part("Last action", action, "none yet"),
    part("Workspace, by salience", held, "nothing is held"),
    part("Modulators", Object.entries(agent.modulators).map((each) => measured(...each))),
  ];
  for (const [factor, states] of Object.entries(agent.beliefs)) {
    parts.push(part(`Beliefs: ${factor}`, Object.entries(states).map((each) => measured(...each))));
  }
  at("agent-details").replaceChildren(...parts);
}

function part(title, rows, otherwise = "") {
  const content = rows.length ? element("ul", { class: "rows" }, ...rows) : element("p", {}, otherwise);
  return element("section", {}, element("h4", {}, title), content);
}

function said(name, text) {
  const made = row(name);
  made.said.textContent = text;
  return made.node;
}

function measured(name, value) {
  const bar = new Bar();
  const made = row(name, bar.node);
  made.said.textContent = number(value, 3);
  bar.show(value);
  return made.node;
}
