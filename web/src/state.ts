// The page's state: one table, which is the address after `#`. Parsing, printing and resetting read it; links of version 1 open for ever.
import { catalogue, entry, say } from "./engine";

interface Numeric { kind: "number"; initial: number; low: number; high: number }
interface Word { kind: "word"; initial: string; allowed?: string[] }

const number = (initial: number, low: number, high: number): Numeric => ({ kind: "number", initial, low, high });
const word = (initial: string, allowed?: string[]): Word => ({ kind: "word", initial, allowed });

const TABLE = {
  s: word("", ["", "A", "B", "C", "D", "E", "F", "G"]),
  l: word(""),
  beta: number(0.1, 1e-6, 100),
  ld: number(1, 0, 1e3),
  lu: number(1, 0, 1e3),
  a: number(0.88, 0.01, 1),
  k: number(2.25, 0, 100),
  z0: number(0, -1e3, 1e3),
  n: number(100, 1, 100000),
  eps: number(0.01, 1e-6, 0.5),
  x: word(""),
  y: word("unit", ["unit", "raw"]),
  side: word("d", ["d", "u"]),
  log: word("0", ["0", "1"]),
  seed: number(7, 0, 4294967295),
  mu: number(-1, -50, 50),
  sd: number(2, 0, 100),
  m: number(32, 1, 4096),
  p: number(0.6, 0.5, 0.99),
  ref: number(0.01, 0.001, 0.999),
  h: number(10, -80, 80),
  nd: number(900, 0, 1e7),
  nu: number(100, 0, 1e7),
  theme: word("auto", ["auto", "light", "dark"]),
  hide: word(""),
} as const;

export type Key = keyof typeof TABLE;
type Value<K extends Key> = (typeof TABLE)[K] extends Numeric ? number : string;
type State = { [K in Key]: Value<K> };

const initial = Object.fromEntries(Object.entries(TABLE).map(([key, entry]) => [key, entry.initial])) as State;
export const state: State = { ...initial };
/** Parameters of single losses, as `loss.parameter`. */
export const own = new Map<string, number>();
const listeners = new Set<() => void>();
let due = 0;
let writing = 0;

export const range = (key: Key): [number, number] => {
  const entry = TABLE[key];
  return entry.kind === "number" ? [entry.low, entry.high] : [0, 0];
};
export const initially = <K extends Key>(key: K): State[K] => initial[key];

export function set<K extends Key>(key: K, value: State[K]): void {
  state[key] = value;
  changed();
}

export function setOwn(key: string, value: number | null): void {
  if (value === null) own.delete(key);
  else own.set(key, value);
  changed();
}

/** Does a thing once its caller has been still for a moment: what a slider need not wait for. */
export function settled(act: () => void): () => void {
  let due = 0;
  return () => {
    clearTimeout(due);
    due = window.setTimeout(act, 120);
  };
}

/** Whether what a view depends on is other than at its last drawing. */
export function differs(): (...parts: unknown[]) => boolean {
  let last = "";
  return (...parts) => {
    const now = parts.map(String).join("|");
    const changed = now !== last;
    last = now;
    return changed;
  };
}

export const onChange = (listener: () => void): void => void listeners.add(listener);

/** Draws once a frame, and writes the address at most four times a second. */
export function changed(): void {
  due ||= requestAnimationFrame(() => {
    due = 0;
    for (const listener of listeners) listener();
  });
  if (!writing) {
    writing = window.setTimeout(() => {
      writing = 0;
      try {
        history.replaceState(null, "", print());
      } catch {
        // a browser that refuses an address keeps the page
      }
    }, 250);
  }
}

export function print(section?: string): string {
  const parts = ["v=1"];
  for (const key of Object.keys(TABLE) as Key[]) {
    const value = key === "s" && section !== undefined ? section : state[key];
    if (value !== initial[key]) parts.push(`${key}=${encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  }
  for (const [key, value] of own) parts.push(`o.${key}=${value}`);
  return `#${parts.join("&")}`;
}

/** Reads an address; gives what was wrong with it. */
export function parse(hash: string): string[] {
  Object.assign(state, initial);
  own.clear();
  const notices: string[] = [];
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at < 1) continue;
    const key = part.slice(0, at);
    let text = part.slice(at + 1);
    try {
      text = decodeURIComponent(text);
    } catch {
      notices.push(`${key} in the link cannot be read`);
      continue;
    }
    if (key === "v" && text !== "1") notices.push(`the link is of version ${text}, this page reads version 1`);
    if (key.startsWith("o.")) readOwn(key.slice(2), text, notices);
    if (!(key in TABLE)) continue;
    const rule = TABLE[key as Key];
    if (rule.kind === "word") {
      if (rule.allowed && !rule.allowed.includes(text)) notices.push(`${key} = ${text} is not one of ${rule.allowed.join(", ")}`);
      else (state as Record<string, unknown>)[key] = text;
    } else {
      const value = Number(text);
      if (text.trim() === "" || !(value >= rule.low && value <= rule.high)) notices.push(`${key} = ${text} is not in ${say(rule.low)} … ${say(rule.high)}`);
      else (state as Record<string, unknown>)[key] = value;
    }
  }
  return notices;
}

function readOwn(key: string, text: string, notices: string[]): void {
  const [loss, name] = key.split(".");
  const param = entry(loss ?? "")?.params.find((param) => param.name === name);
  const value = Number(text);
  if (!param || text === "" || !(value >= (param.range?.[0] ?? 0) && value <= (param.range?.[1] ?? 1e3))) notices.push(`${key} = ${text} is no parameter of a loss, or out of its range`);
  else own.set(key, value);
}

/** What is pinned: losses, and value functions as `v:name`. */
export function pins(): string[] {
  const known = (pin: string) => (pin.startsWith("v:") ? catalogue.values.includes(pin.slice(2)) : entry(pin) !== undefined);
  const chosen = state.l.split(",").filter(known);
  return chosen.length ? chosen : [`v:${catalogue.values[3]}`, ...catalogue.pins];
}

export function togglePin(pin: string): void {
  const now = pins();
  const next = now.includes(pin) ? now.filter((other) => other !== pin) : [...now, pin].slice(-6);
  set("l", next.join(","));
}

/** The state's keys of parameters that losses share. */
export const SHARED: Record<string, "beta" | "ld" | "lu" | "a" | "k"> = {
  beta: "beta", desirable_weight: "ld", undesirable_weight: "lu", value_alpha: "a", value_loss_aversion: "k",
};

/** A loss's parameters in the catalogue's order. A shared one moves the losses whose default is the shared default: a β per token stays. */
export function numbers(loss: string, replace: Record<string, number> = {}): Float64Array {
  const params = entry(loss)!.params;
  return Float64Array.from(params, (param) => {
    if (param.name in replace) return replace[param.name]!;
    const mine = own.get(`${loss}.${param.name}`);
    if (mine !== undefined) return mine;
    const key = SHARED[param.name];
    return key && initial[key] === param.default ? state[key] : NaN;
  });
}

export function window_(): [number, number] {
  const [low, high] = state.x.split(",").map(Number);
  return low !== undefined && high !== undefined && high > low && high - low < 1e9 ? [low, high] : [-80, 80];
}

export const prospect = (pin: string): boolean => pin.startsWith("v:");
