// The stream of events, and what is said of it: whether it is there, and how old the figures are.

import { followAgents, forgetAgents } from "./agents.js";
import { at, number, say } from "./dom.js";
import { showNodes, showOverview } from "./figures.js";

// The service looks twice a second, and says within some seconds that it got no answer.
const LOST_MS = 6_000;
const OLD_MS = 3_000;
const TRY_AGAIN_MS = 3_000;

let stream = null;
let trying = null;
// When something was heard, or somebody began to listen.
let heard = performance.now();
let figures = null;
let ready = false;

function connect() {
  clearTimeout(trying);
  stream?.close();
  const opened = new EventSource("events");
  opened.addEventListener("message", (event) => take(JSON.parse(event.data)));
  opened.addEventListener("error", () => {
    // A stream that has ended comes again by itself. One that was refused does not.
    if (opened === stream && opened.readyState === EventSource.CLOSED) refused();
  });
  stream = opened;
}

function disconnect() {
  clearTimeout(trying);
  stream?.close();
  stream = null;
}

async function refused() {
  trying = setTimeout(connect, TRY_AGAIN_MS);
  const response = await fetch("ready", { cache: "no-store" }).catch(() => null);
  const answer = await response?.json().catch(() => null);
  const reason = answer?.reasons?.join("; ");
  if (reason) state("lost", `Not connected: ${reason}; trying again`);
}

function take(seen) {
  heard = performance.now();
  showNodes(seen.nodes);
  if (seen.phase === "ready") {
    if (!ready) forgetAgents();
    figures = heard;
    showOverview(seen, heard);
    followAgents(seen);
    state("live", "Live");
  } else {
    state("away", `${seen.phase[0].toUpperCase()}${seen.phase.slice(1)}: ${seen.reason}`);
  }
  ready = seen.phase === "ready";
  age();
}

function state(name, text) {
  document.body.dataset.state = name;
  say(at("state"), text);
}

function age() {
  const now = performance.now();
  const silent = stream !== null && now - heard > LOST_MS;
  if (silent && document.body.dataset.state !== "lost") state("lost", "The connection is lost; trying again");
  const old = figures !== null && now - figures > OLD_MS;
  document.body.toggleAttribute("data-old", old);
  if (figures !== null) {
    say(at("age"), old ? `The figures are ${duration((now - figures) / 1000)} old` : "The figures are of this moment");
  }
}

function duration(seconds) {
  return seconds < 120 ? `${number(seconds)} s` : `${number(seconds / 60)} min`;
}

// Nobody looks at what is hidden: its place is for others.
function follow() {
  if (document.hidden) {
    disconnect();
  } else {
    heard = performance.now();
    connect();
  }
}

document.addEventListener("visibilitychange", follow);
setInterval(age, 1_000);
follow();
