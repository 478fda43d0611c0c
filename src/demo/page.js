"use strict";

const PERIOD = 200; // milliseconds between two looks
const SQUARES = 240;
const COLUMNS = ["written", "arrived", "waiting", "missing", "doubled", "again", "rotations"];
const BAD = ["missing", "doubled"];

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const rows = new Map();
let isOver = false;

function rowOf(name) {
  if (rows.has(name)) return rows.get(name);
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const lines = document.createElement("td");
  lines.className = "lines";
  const strip = document.createElement("div");
  strip.className = "strip";
  strip.setAttribute("aria-hidden", "true");
  const squares = Array.from({ length: SQUARES }, () => strip.appendChild(document.createElement("i")));
  lines.append(strip);
  row.append(head, lines);
  const cells = COLUMNS.map(() => row.appendChild(document.createElement("td")));
  byId("pods").append(row);
  rows.set(name, { squares, cells });
  return rows.get(name);
}

function show(state) {
  const total = { ...state.total, kills: state.kills };
  for (const cell of document.querySelectorAll("[data-figure]")) {
    const value = total[cell.dataset.figure];
    cell.textContent = number.format(value);
    cell.classList.toggle("bad", BAD.includes(cell.dataset.figure) && value > 0);
  }
  for (const pod of state.pods) {
    const { squares, cells } = rowOf(pod.name);
    const figures = { ...pod.figures, waiting: pod.figures.written - pod.figures.arrived - pod.figures.missing };
    COLUMNS.forEach((column, at) => (cells[at].textContent = number.format(figures[column])));
    const empty = SQUARES - pod.recent.length;
    squares.forEach((square, at) => {
      const state = at < empty ? "" : pod.recent[at - empty];
      if (square.className !== state) square.className = state;
    });
  }
  const agent = state.agent ? `The agent runs as process ${state.agent}.` : "The agent is dead. It starts again in a moment.";
  if (byId("agent").textContent !== agent) byId("agent").textContent = agent;
  byId("agent-page").hidden = !state.agent_page;
  if (state.agent_page) byId("agent-page").href = state.agent_page;
  const first = state.first_line === null ? "" : `first line after ${state.first_line.toFixed(2)} s · `;
  const end = state.is_draining ? "waiting for the last lines" : `${Math.min(state.seconds, state.duration).toFixed(0)} of ${state.duration} s`;
  byId("time").textContent = state.verdict ? "" : first + end;
  byId("kill").disabled = !state.agent || state.verdict !== null;
  if (state.verdict) {
    isOver = true;
    byId("agent").textContent = "";
    byId("agent-page").hidden = true;
    byId("answer").textContent = "";
    byId("verdict").hidden = false;
    byId("verdict").classList.toggle("good", state.is_good);
    byId("verdict").textContent = `The demo has ended: ${state.verdict}.`;
  }
}

async function look() {
  try {
    const answer = await fetch("state");
    show(await answer.json());
  } catch {
    isOver = true;
    byId("kill").disabled = true;
    byId("agent-page").hidden = true;
    byId("agent").textContent = "The demo has ended. The terminal shows its result.";
  }
  if (!isOver) setTimeout(look, PERIOD);
}

byId("kill").addEventListener("click", async () => {
  try {
    const answer = await fetch("kill", { method: "POST" });
    byId("answer").textContent = answer.ok ? "" : `Not killed: ${(await answer.text()).trim()}.`;
  } catch {
    // The next look says that the demo has ended.
  }
});

look();
