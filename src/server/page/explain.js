// Why a target is read or not: each rule, and each stage with a line.

import { element, pathText } from "./dom.js";
import { bytes, count } from "./units.js";
import { ask } from "./ask.js";

let form, place;

export function answer(about, job, line = "") {
  const query = new URLSearchParams({ format: "json", about });
  if (job) query.set("job", job);
  if (line) query.set("line", line);
  return ask(`explain?${query}`);
}

export function start() {
  form = document.getElementById("question");
  place = document.getElementById("explanation");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
}

export function enter(query) {
  for (const name of ["about", "job", "line"]) if (query.has(name)) form.elements[name].value = query.get(name);
  if (query.has("about")) explain();
  else if (!place.firstChild) {
    place.append(element("p", { class: "empty" }, "Ask for a pod, a file or labels. Without an answer to that, all targets are explained, also those that a rule dropped."));
  }
}

// Nothing to refresh: an answer belongs to its question.
export function show() {}

async function explain() {
  const { about, job, line } = form.elements;
  try {
    draw(place, await answer(about.value.trim(), job.value.trim(), line.value));
  } catch (error) {
    place.replaceChildren(element("p", { class: "notice bad" }, error.message));
  }
}

export function draw(into, explanation, most = 50) {
  const notes = explanation.notes.map((note) => element("p", { class: "notice" }, note));
  const targets = explanation.targets.slice(0, most);
  const more = explanation.more_targets + explanation.targets.length - targets.length;
  const rest = more > 0 ? [element("p", { class: "faint" }, `and ${count(more)} more targets`)] : [];
  const none = targets.length + notes.length === 0 ? [element("p", { class: "empty" }, "No target is known.")] : [];
  into.replaceChildren(...notes, ...targets.map(card), ...rest, ...none);
}

function card(target) {
  const outcome = target.dropped ? ["bad", "not read"] : ["good", "read"];
  return element(
    "article", { class: "card" },
    element("h3", {}, `${target.job}: ${target.source} `, element("span", { class: `pill ${outcome[0]}` }, outcome[1])),
    target.dropped ? element("p", { class: "bad" }, target.dropped) : null,
    element("h4", {}, "Relabel rules"),
    target.rules.length ? element("ol", { class: "steps" }, ...target.rules.map(rule)) : element("p", { class: "faint" }, "The job has no rules."),
    element("h4", {}, "Path"),
    element("code", { class: "path" }, target.path ? pathText(target.path) : "none"),
    ...(target.files.length ? [element("h4", {}, "Files"), element("ul", {}, ...target.files.map(file))] : []),
    target.nothing ? element("p", { class: "bad" }, target.nothing) : null,
    ...target.lines.flatMap(trace),
  );
}

function rule(step) {
  const read = Object.entries(step.read).map(([name, value]) => `${name}="${value}"`).join(" ");
  return element(
    "li", { class: step.drops ? "drops" : step.changes.length ? "changes" : "" },
    element("code", {}, step.rule), step.drops ? element("b", { class: "bad" }, " drops the target") : null,
    read ? element("span", { class: "change" }, `read ${read}`) : null,
    ...step.changes.map(change),
  );
}

function change({ what, before, after }) {
  return element(
    "span", { class: "change" }, `${what} `,
    before === null ? null : element("del", {}, before), before !== null && after !== null ? " → " : null,
    after === null ? null : element("ins", {}, after),
  );
}

function file(one) {
  const parts = [one.size === null ? null : bytes(one.size), one.behind === null ? null : `${bytes(one.behind)} behind`, one.client && `client ${one.client}`, one.problem];
  return element("li", {}, element("code", { class: "path" }, pathText(one.path)), element("span", { class: one.problem ? "bad" : "faint" }, parts.filter((part) => part).join(", ")));
}

function trace(line) {
  const outcomes = { passed: "", held: " holds the line" };
  const stage = (step) => {
    const drops = typeof step.outcome === "object";
    return element(
      "li", { class: drops ? "drops" : step.changes.length ? "changes" : "" },
      element("code", {}, step.stage), drops ? element("b", { class: "bad" }, ` drops the line: ${step.outcome.dropped}`) : outcomes[step.outcome] ?? "",
      ...step.changes.map(change),
    );
  };
  const entry = (one) => element(
    "li", { class: "changes" }, element("b", {}, "pushed "), one.timestamp, element("code", { class: "change" }, one.line),
    element("span", { class: "change" }, Object.entries(one.labels).map(([name, value]) => `${name}="${value}"`).join(" ")),
    ...one.warnings.map((warning) => element("span", { class: "change bad" }, warning)),
  );
  return [element("h4", {}, "Line"), element("code", {}, line.line), element("ol", { class: "steps" }, ...line.steps.map(stage), ...line.entries.map(entry))];
}
