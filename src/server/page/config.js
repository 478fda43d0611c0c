// The config in use.

import { setText } from "./dom.js";
import { ask } from "./ask.js";

let shown = 0;

export function enter() {
  shown = 0;
}

// It changes only with a reload, so it is asked for rarely.
export async function show() {
  if (Date.now() - shown < 10000) return;
  const { config } = await ask("config?format=json");
  shown = Date.now();
  setText(document.getElementById("yaml"), config);
}
