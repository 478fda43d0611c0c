// The overview: rates, clients, losses and dropped targets.

import { Table, element, setClass, setText } from "./dom.js";
import { ago, bytes, count, duration, rate } from "./units.js";

const HISTORY = 60;
// Rates are computed over so many milliseconds, because lines come in batches.
const WINDOW = 5000;
const samples = [];
let tiles, clients, losses, dropped;

const sum = (list, value) => list.reduce((all, one) => all + value(one), 0);
const lost = (account) => sum(Object.values(account.lost_bytes), (n) => n);
const discarded = (account) => sum(Object.values(account.discarded), (weight) => weight.lines);
const isWell = (client) => client.status.state === "ok";

// Keeps the counters of an answer.
export function note(state) {
  const by = new Map();
  for (const { status, account } of state.clients) by.set(status.name, account);
  const last = samples.at(-1);
  if (last && last.at >= state.counted_ms) samples.length = 0;
  else if (last && state.counted_ms - last.at < 1000) return;
  samples.push({ at: state.counted_ms, by });
  if (samples.length > HISTORY) samples.shift();
}

// A rate in each second, for one client or for all. Nothing: there is one answer only.
function rateOf(value, name = null, to = samples.length - 1) {
  let from = to;
  while (from > 0 && samples[to].at - samples[from].at < WINDOW) from -= 1;
  if (to <= from) return null;
  const at = (sample) => [...sample.by].filter(([client]) => name === null || client === name).reduce((all, [, a]) => all + value(a), 0);
  const seconds = (samples[to].at - samples[from].at) / 1000;
  return Math.max(0, at(samples[to]) - at(samples[from])) / seconds;
}

const read = (account) => account.read.lines;
const delivered = (account) => account.delivered.lines;
const perSecond = (value) => (value === null ? "…" : rate(value));

export function start() {
  const place = document.getElementById("tiles");
  const names = ["Lines read", "Lines delivered", "Bytes read", "Files", "Behind", "Waiting for Loki", "Dropped", "Lost"];
  tiles = names.map((name, i) => {
    const [value, note] = [element("dd", { class: "value" }, "…"), element("dd", { class: "note" })];
    const tile = element("div", { class: "tile" }, element("dt", {}, name), value, note);
    const line = i < 3 ? tile.appendChild(sparkline()) : null;
    place.append(tile);
    return { value, note, line };
  });
  clients = new Table(document.getElementById("clients"), "Clients", CLIENTS, {
    key: (client) => client.status.name,
    empty: (p) => setText(p, "There are no clients: lines are printed, or clients are missing in the config."),
  });
  losses = new Table(document.getElementById("losses"), "Dropped and lost lines by reason", LOSSES, {
    key: (loss) => `${loss.client} ${loss.kind} ${loss.reason}`,
    empty: (p) => setText(p, "Nothing was dropped or lost since the start."),
  });
  dropped = new Table(document.getElementById("dropped"), "Dropped targets by reason", DROPPED, {
    key: (reason) => `${reason.job} ${reason.reason}`,
    empty: (p) => setText(p, "Every discovered target is read."),
  });
}

const CLIENTS = [
  { head: "Client", header: true, paint: paintClient },
  { head: "State", class: "text", paint: paintState },
  { head: "Lines/s read", class: "n", cell: (c) => perSecond(rateOf(read, c.status.name)) },
  { head: "Lines/s delivered", class: "n", cell: (c) => perSecond(rateOf(delivered, c.status.name)) },
  { head: "Behind", class: "n", cell: (c) => bytes(c.unread_bytes) },
  { head: "Waiting", class: "n", cell: (c) => bytes(c.unacknowledged_bytes) },
  { head: "Last push", class: "n", cell: (c) => (c.status.last_push_seconds_ago === null ? "none yet" : ago(c.status.last_push_seconds_ago)) },
];

function paintClient(cell, client) {
  if (!cell.firstChild) cell.append(element("b", {}), element("span", { class: "sub path" }));
  setText(cell.firstChild, client.status.name);
  setText(cell.lastChild, client.status.url);
}

function paintState(cell, client) {
  const { status } = client;
  if (!cell.firstChild) cell.append(element("span", {}), element("span", { class: "sub" }));
  const since = status.failing_seconds === null ? "" : ` for ${duration(status.failing_seconds)}`;
  setClass(cell.firstChild, `pill ${isWell(client) ? "good" : "bad"}`);
  setText(cell.firstChild, isWell(client) ? "ok" : status.failing_seconds === null ? "streams refused" : `failing${since}`);
  const error = isWell(client) && status.last_error ? `last error ${ago(status.last_error_seconds_ago)}: ${status.last_error}` : status.last_error;
  setText(cell.lastChild, error ?? "");
}

const LOSSES = [
  { head: "Reason", header: true, cell: (loss) => loss.reason },
  { head: "Client", cell: (loss) => loss.client },
  { head: "Kind", cell: (loss) => loss.kind },
  { head: "Lines", class: "n", cell: (loss) => (loss.lines === null ? "–" : count(loss.lines)) },
  { head: "Bytes", class: "n", cell: (loss) => bytes(loss.bytes) },
];

const DROPPED = [
  { head: "Reason", header: true, cell: (one) => one.reason },
  { head: "Job", cell: (one) => one.job },
  { head: "Targets", class: "n", cell: (one) => count(one.targets) },
  {
    head: "",
    paint: (cell, one) => {
      if (!cell.firstChild) cell.append(element("a", { href: `service-discovery?q=${encodeURIComponent(one.reason)}` }, "which?"));
    },
  },
];

export function show(state) {
  const all = state.clients;
  const several = all.length > 1 ? `${all.length} clients` : "";
  const [perRead, perDelivered] = [rateOf(read), rateOf(delivered)];
  const totals = (value) => count(sum(all, (client) => value(client.account)));
  const failing = all.filter((client) => !isWell(client));
  const { summary, discovery } = state;
  const lostBytes = sum(all, (client) => lost(client.account));
  paint(0, `${perSecond(perRead)} /s`, [`${totals(read)} in all`, several]);
  paint(1, `${perSecond(perDelivered)} /s`, [`${totals(delivered)} in all`, several]);
  paint(2, byteRate(), [`${bytes(sum(all, (client) => client.account.read.bytes))} in all`, several]);
  paint(3, count(summary.files), [`${count(summary.targets)} targets, ${count(discovery.discovered - discovery.kept)} dropped`], summary.failing_files ? `${count(summary.failing_files)} not readable` : "");
  paint(4, bytes(summary.behind_bytes), ["not read yet"]);
  paint(5, bytes(summary.unacknowledged_bytes), [failing.length ? "" : "read and not acknowledged"], failing.length ? `${failing.length} of ${all.length} clients failing` : "");
  paint(6, count(sum(all, (client) => discarded(client.account))), ["lines, by a stage or by Loki"]);
  paint(7, bytes(lostBytes), [lostBytes ? "" : "nothing"], lostBytes ? "see the reasons below" : "");
  draw(tiles[0].line, (i) => rateOf(read, null, i));
  draw(tiles[1].line, (i) => rateOf(delivered, null, i));
  draw(tiles[2].line, (i) => rateOf((account) => account.read.bytes, null, i));
  clients.show(all);
  losses.show(all.flatMap(lossesOf));
  dropped.show(discovery.dropped);
}

function byteRate() {
  const value = rateOf((account) => account.read.bytes);
  return value === null ? "…" : `${bytes(value)}/s`;
}

function paint(i, value, notes, bad = "") {
  const { value: shown, note } = tiles[i];
  setText(shown, value);
  setText(note, bad || notes.filter((text) => text).join(", "));
  setClass(note, bad ? "note bad" : "note");
}

function lossesOf({ status, account }) {
  const dropped = Object.entries(account.discarded).map(([reason, weight]) => ({ reason, kind: "dropped", client: status.name, ...weight }));
  const gone = Object.entries(account.lost_bytes).map(([reason, n]) => ({ reason, kind: "lost", client: status.name, lines: null, bytes: n }));
  return [...dropped, ...gone].filter((loss) => loss.bytes > 0 || loss.lines > 0);
}

const SVG = "http://www.w3.org/2000/svg";

function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "polyline");
  for (const [name, value] of [["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "1.5"], ["vector-effect", "non-scaling-stroke"]]) {
    line.setAttribute(name, value);
  }
  svg.append(line);
  return svg;
}

function draw(svg, value) {
  const values = samples.map((_, i) => value(i)).filter((v) => v !== null);
  const top = Math.max(...values, 1e-9) * 1.1;
  const x = (i) => 100 - (values.length - 1 - i) * (100 / HISTORY);
  svg.firstChild.setAttribute("points", values.map((v, i) => `${x(i).toFixed(1)},${(29 - (v / top) * 27).toFixed(1)}`).join(" "));
}

// What needs attention, with what to do next.
export function notices(state) {
  const list = [];
  const explain = { href: "#explain", text: "Explain" };
  if (state.standing_still.length) {
    list.push({ kind: "bad", title: "Reading stands still.", text: `${state.standing_still.join(", ")}: probably a system call on a file does not return.` });
  }
  for (const client of state.clients.filter((c) => c.status.failing_seconds !== null)) {
    const { name, url, failing_seconds: seconds, last_error: error } = client.status;
    list.push({
      kind: "bad",
      title: `Loki does not accept pushes of client ${name}.`,
      text: `For ${duration(seconds)}: ${error ?? "no answer"}. Lines wait in their files and are sent when ${url} accepts them again.`,
    });
  }
  if (state.reload_error !== null) {
    list.push({ kind: "warn", title: "The last reload failed.", text: `The config before it stays in use. ${state.reload_error}`, link: { href: "#config", text: "Config in use" } });
  }
  if (state.discovery.discovered === 0) {
    const text = "Discovery has found nothing. Look whether scrape_configs has a job, and whether the API server, the Docker socket or the target files can be reached.";
    list.push({ kind: "warn", title: "There are no targets.", text, link: explain });
  } else if (state.summary.targets === 0) {
    const text = `${count(state.discovery.discovered)} targets were found, and the rules drop all of them. The reasons are below.`;
    list.push({ kind: "warn", title: "No target is read.", text, link: explain });
  } else if (state.summary.files === 0) {
    const text = "No file matches the paths of the targets.";
    list.push({ kind: "warn", title: "No file is read.", text, link: { href: "#targets", text: "See why, target by target" } });
  } else if (sum(state.clients, (c) => c.account.read.lines) === 0) {
    list.push({ kind: "", title: "Nothing has been sent yet.", text: "The files are open, and no line has been written to them since their positions." });
  }
  return list;
}
