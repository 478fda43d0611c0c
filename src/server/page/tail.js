// Live tail: lines before and after the stages, as they are read.

import { element, setText } from "./dom.js";

const MOST = 300;
// A filter is asked for when its reader has stopped to type: few may look at the same time.
const TYPING = 400;
let form, list, state, source = null, refusal = null, skipped = 0, timer = 0;

export function start() {
  form = document.getElementById("watch");
  list = document.getElementById("lines");
  state = document.getElementById("tail-state");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (source) stop("Stopped.");
    else watch();
  });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    if (source) timer = setTimeout(() => {
      list.replaceChildren();
      watch();
    }, TYPING);
  });
  document.getElementById("clear").addEventListener("click", () => list.replaceChildren());
  setText(state, "Nothing is shown before you start.");
}

// Whether this browser may look comes with the overview.
export function show(overview) {
  refusal = overview.live_tail_refusal;
  document.getElementById("toggle").disabled = refusal !== null && source === null;
  if (refusal !== null) stop(`Lines cannot be shown here: ${refusal}`);
  else if (!source && state.textContent.startsWith("Lines cannot")) setText(state, "");
}

export function leave() {
  stop("Stopped.");
}

function watch() {
  source?.close();
  skipped = 0;
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  source = new EventSource(`api/tail?${query}`);
  source.onmessage = ({ data }) => add(JSON.parse(data));
  source.onopen = () => tell();
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) stop("The agent does not show lines now: too many may look, or it stops. Start again in a few seconds.");
  };
  setText(document.getElementById("toggle"), "Stop");
}

function stop(why) {
  if (source) setText(state, why);
  else if (refusal !== null) setText(state, why);
  clearTimeout(timer);
  source?.close();
  source = null;
  setText(document.getElementById("toggle"), "Start");
}

function tell() {
  setText(state, "Lines are shown as they are read, the latest first" + (skipped ? `. ${skipped} more came too fast.` : "."));
}

function add({ lines, skipped: more }) {
  // A reader who has scrolled down keeps the place.
  const before = list.scrollHeight;
  for (const line of lines) list.prepend(item(line));
  while (list.children.length > MOST) list.lastElementChild.remove();
  if (list.scrollTop > 0) list.scrollTop += list.scrollHeight - before;
  if (more) {
    skipped += more;
    tell();
  }
}

function item({ side, timestamp_unix_ms: ms, labels, line }) {
  const pairs = Object.entries(labels).filter(([name]) => name !== "filename").map(([name, value]) => `${name}="${value}"`).join(" ");
  const when = new Date(ms).toISOString().slice(11, 23);
  return element("li", { class: side }, element("span", { class: "of" }, `${side} · ${when} · ${pairs}`), line);
}
