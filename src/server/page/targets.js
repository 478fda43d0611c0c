// The targets: one row for each file with its clients inside, filtered and sorted by the server, a page at a time.

import { Table, element, pathText, setClass, setText, sync } from "./dom.js";
import { bytes, count, since } from "./units.js";
import { answer, draw } from "./explain.js";
import { ask } from "./ask.js";

const byId = (id) => document.getElementById(id);
const STATES = { error: ["bad", "not readable"], no_file: ["warn", "no file"], behind: ["warn", "behind"], ok: ["good", "up to date"] };
let form, table, page = 0, now = 0, asked = 0;

const most = (row, value) => Math.max(0, ...row.clients.map(value));
const latest = (row, value) => row.clients.reduce((last, c) => (value(c) === null ? last : Math.max(last ?? 0, value(c))), null);
// A value for all clients, or one line for each client if they differ.
function each(cell, row, text) {
  const texts = row.clients.map((client) => text(client));
  const same = texts.every((one) => one === texts[0]);
  const lines = same ? texts.slice(0, 1) : texts.map((one, i) => `${row.clients[i].name}: ${one}`);
  if (!cell.firstChild) cell.append(element("div"));
  sync(cell.firstChild, lines.map((line, i) => ({ line, i })), ({ i }) => String(i), () => element("span", { class: "sub client" }), (span, { line }) => {
    setClass(span, same ? "client" : "sub client");
    setText(span, line);
  });
}

const COLUMNS = [
  { head: "File", header: true, paint: paintFile },
  {
    head: "State",
    paint: (cell, row) => {
      if (!cell.firstChild) cell.append(element("span", {}));
      const [kind, text] = STATES[row.state];
      setClass(cell.firstChild, `pill ${kind}`);
      setText(cell.firstChild, text);
    },
  },
  { head: "Behind", class: "n", paint: (cell, row) => each(cell, row, (c) => bytes(c.unread_bytes)) },
  { head: "Waiting", class: "n", paint: (cell, row) => each(cell, row, (c) => bytes(c.unacknowledged_bytes)) },
  { head: "Last line", class: "n", cell: (row) => since(latest(row, (c) => c.last_read_unix_ms), now) },
  { head: "Last push", class: "n", paint: (cell, row) => each(cell, row, (c) => since(c.last_delivery_unix_ms, now)) },
  { head: "Lines", class: "n", cell: (row) => count(most(row, (c) => c.account.read.lines)) },
];

function paintFile(cell, row, of) {
  if (!cell.firstChild) {
    const body = () => cell.closest("tbody");
    const button = element("button", { type: "button", class: "path", "aria-expanded": "false", click: () => of.toggle(body(), button) });
    cell.append(button, element("span", { class: "sub" }));
  }
  const path = row.file ?? row.path;
  if (cell.firstChild.textContent !== path) cell.firstChild.replaceChildren(pathText(path));
  const { namespace, app } = row.labels;
  const about = [`job ${row.job}`, namespace && `namespace ${namespace}`, app && `app ${app}`].filter((part) => part).join(", ");
  setText(cell.lastChild, row.problem ? `${about} – ${row.problem}` : about);
}

// The detail of a row: all labels, its clients, and its way through the rules.
function createDetail(cell, row) {
  const way = element("div", { class: "way", "aria-live": "polite" }, element("p", { class: "faint" }, "asking for the rules …"));
  const heads = ["Client", "Read to", "Size", "Lines read", "Delivered", "Dropped", "Lost"];
  const clients = new Table(element("div"), "Clients of this file", heads.map((head, i) => ({
    head, header: i === 0, class: i > 0 ? "n" : "",
    cell: (c) => [c.name, count(c.read_offset), bytes(c.size), count(c.account.read.lines), count(c.account.delivered.lines),
      count(Object.values(c.account.discarded).reduce((n, w) => n + w.lines, 0)),
      bytes(Object.values(c.account.lost_bytes).reduce((n, b) => n + b, 0))][i],
  })), { key: (c) => c.name, empty: (p) => setText(p, row.problem ?? "No file is read.") });
  cell.clients = clients;
  cell.append(
    element("h4", {}, "Labels"), element("ul", { class: "labels" }),
    element("p", { class: "faint" }),
    element("h4", {}, "Clients"), clients.table.parentNode,
    element("h4", {}, "Way through the rules"), way,
  );
  answer(row.about, row.job).then((explanation) => draw(way, explanation, 1), (error) => way.replaceChildren(element("p", { class: "bad" }, error.message)));
}

function updateDetail(cell, row) {
  const [, labels, note] = cell.children;
  const pairs = Object.entries(row.labels).map(([name, value]) => `${name}="${value}"`);
  sync(labels, pairs, (pair) => pair, (pair) => element("li", {}, pair), () => {});
  const more = row.more_labels ? `and ${row.more_labels} more labels; ` : "";
  setText(note, `${more}path ${row.path}` + (row.not_read ? `; ${count(row.not_read)} more paths match and are not read as logs` : ""));
  cell.clients.show(row.clients);
}

export function start() {
  form = byId("filter");
  table = new Table(byId("rows"), "Files and their clients", COLUMNS, {
    key: (row) => JSON.stringify([row.job, row.path, row.file, row.labels]),
    empty: (p) => p.replaceChildren(...nothing()),
    detail: { create: createDetail, update: updateDetail },
  });
  const again = () => {
    page = 0;
    show();
  };
  form.addEventListener("input", again);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
}

function nothing() {
  const isFiltered = ["q", "namespace", "app", "state"].some((name) => form.elements[name].value);
  if (isFiltered) {
    return [element("b", {}, "No target matches the filter. "), "A target that a rule dropped is not in this list: ",
      element("a", { href: `#explain?about=${encodeURIComponent(form.elements.q.value)}` }, "ask why it is not read"), "."];
  }
  return [element("b", {}, "There are no targets. "), "Either discovery has found nothing, or the rules drop everything: ",
    element("a", { href: "#explain" }, "ask why"), ", or see ", element("a", { href: "service-discovery" }, "all discovered targets"), "."];
}

function turn(by) {
  page = Math.max(0, page + by);
  show();
  byId("rows").scrollIntoView();
}

function choose(select, values) {
  const chosen = select.value;
  const wanted = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  const known = [...select.options].slice(1).map((option) => option.value);
  if (known.join("\n") === wanted.join("\n")) return;
  select.replaceChildren(select.options[0], ...wanted.map((value) => element("option", { value }, value)));
  select.value = chosen;
}

export async function show(state) {
  const number = (asked += 1);
  now = state?.now_unix_ms ?? now;
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  query.set("page", page);
  const rows = await ask(`api/targets?${query}`);
  // A later request, for another filter, is under way.
  if (number !== asked) return;
  page = rows.page;
  choose(form.elements.namespace, rows.namespaces);
  choose(form.elements.app, rows.apps);
  const states = Object.entries(rows.states).map(([state, n]) => `${count(n)} ${STATES[state][1]}`).join(", ");
  setText(byId("count"), `${count(rows.matching)} of ${count(rows.total)} files and targets` + (states ? `: ${states}` : ""));
  table.show(rows.rows);
  byId("pager").hidden = rows.pages < 2;
  setText(byId("pages"), `page ${rows.page + 1} of ${rows.pages}`);
  byId("previous").disabled = rows.page === 0;
  byId("next").disabled = rows.page + 1 >= rows.pages;
}
