// Numbers as text. The units are the same everywhere: B, KiB, MiB; s, min, h, d.

const number = new Intl.NumberFormat("en-US");

export function count(n) {
  return number.format(n);
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let power = 0;
  while (n >= 1024 && power < units.length - 1) {
    n /= 1024;
    power += 1;
  }
  return `${power === 0 || n >= 100 ? number.format(Math.round(n)) : n.toFixed(1)} ${units[power]}`;
}

export function rate(n) {
  return n >= 100 || n === 0 ? number.format(Math.round(n)) : n.toFixed(1);
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(s, 60, "min", "s");
  if (s < 86400) return two(Math.floor(s / 60), 60, "h", "min");
  return two(Math.floor(s / 3600), 24, "d", "h");
}

function two(n, base, large, small) {
  const rest = n % base;
  return `${Math.floor(n / base)} ${large}` + (rest > 0 ? ` ${rest} ${small}` : "");
}

export function ago(seconds) {
  return seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

// How long ago a time of the server was, by the server's clock. Nothing: it has not happened.
export function since(unixMs, nowMs) {
  return unixMs === null ? "–" : ago((nowMs - unixMs) / 1000);
}
