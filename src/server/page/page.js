// The page: which view is shown, and when its data is asked for.

import { ask } from "./ask.js";
import { element, setClass, setText } from "./dom.js";
import { duration } from "./units.js";
import * as overview from "./overview.js";
import * as targets from "./targets.js";
import * as explain from "./explain.js";
import * as config from "./config.js";
import * as tail from "./tail.js";

const EVERY = 2000;
const views = { overview, targets, explain, tail, config };
const byId = (id) => document.getElementById(id);
let current = "";
let isAsking = false;
let lastAnswer = 0;

async function refresh() {
  if (isAsking || document.hidden) return;
  isAsking = true;
  try {
    const state = await ask("api/overview");
    lastAnswer = Date.now();
    overview.note(state);
    showHeader(state);
    await views[current].show(state);
  } catch (error) {
    showAway(error);
  } finally {
    isAsking = false;
  }
}

function showHeader(state) {
  const { build, hostname, uptime_seconds: uptime, summary } = state;
  setText(byId("host"), `${hostname} · up ${duration(uptime)}`);
  setText(byId("build"), `fantail ${build.version}, revision ${build.revision}`);
  document.title = `${hostname}: fantail`;
  const bad = state.standing_still.length > 0 || summary.failing_clients > 0;
  const warn = summary.failing_files > 0 || state.reload_error !== null || summary.targets === 0;
  setClass(byId("health"), `pill ${bad ? "bad" : warn ? "warn" : "good"}`);
  setText(byId("health"), bad ? "not delivering" : warn ? "needs attention" : "delivering");
  notices(overview.notices(state));
}

function showAway(error) {
  setClass(byId("health"), "pill bad");
  setText(byId("health"), "no answer");
  const when = lastAnswer ? ` The numbers are from ${duration((Date.now() - lastAnswer) / 1000)} ago.` : "";
  notices([{ kind: "bad", title: "The agent does not answer.", text: `${error.message}.${when} The page asks again every 2 s.` }]);
}

// Repeats nothing to a screen reader: only a notice whose title is new is a new element.
function notices(list) {
  const place = byId("notices");
  const known = new Map([...place.children].map((child) => [child.dataset.title, child]));
  for (const { kind, title, text, link } of list) {
    let shown = known.get(title);
    known.delete(title);
    if (!shown) {
      shown = element("div", { class: `notice ${kind}`, "data-title": title }, element("b", {}, title), element("span", { "aria-live": "off" }));
      if (link) shown.append(" ", element("a", { href: link.href }, link.text));
      place.append(shown);
    }
    setText(shown.children[1], text);
  }
  for (const gone of known.values()) gone.remove();
}

function route() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  if (name === "main") return;
  const view = Object.hasOwn(views, name) ? name : "overview";
  for (const other of Object.keys(views)) byId(`view-${other}`).hidden = other !== view;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isOther = view !== current;
  if (isOther && current) views[current].leave?.();
  current = view;
  views[view].enter?.(new URLSearchParams(query));
  if (isOther) refresh();
}

for (const view of Object.values(views)) view.start?.();
addEventListener("hashchange", route);
addEventListener("visibilitychange", refresh);
route();
setInterval(refresh, EVERY);
