// The pinned curves, once for all views that draw them.
import { catalogue, entry, grid, halo, say, type Entry, type Saturation } from "./engine";
import { numbers, pins, state, window_ } from "./state";

export interface Line {
  pin: string; name: string; color: number; entry: Entry | null; xs: Float64Array; values: Float64Array; pulls: Float64Array;
  value: (u: number) => number; pull: (u: number) => number; loss: (u: number) => number;
  saturation: Saturation | null; steepest: number; unit: string;
  /** Zones on the page's axis: learnt and given up, where they begin. */
  zones: { learnt: number | null; givenUp: number | null }; problem: string;
}

export const pinName = (pin: string): string => (pin === prospectPin() ? "prospect theory" : pin.startsWith("v:") ? `${pin.slice(2).replaceAll("_", " ")} value` : pin);
const side = (): boolean => state.side === "d";

/** Pinned curves whose unit is the first one's; the others are named with the reason. */
export function lines(): { shown: Line[]; apart: { pin: string; why: string }[] } {
  const [low, high] = window_();
  const xs = grid(low, high, 480);
  const all = pins();
  const unitOf = (pin: string) => (pin.startsWith("v:") ? "nats" : entry(pin)!.unit);
  const first = all.find((pin) => !pin.startsWith("v:")) ?? all[0]!;
  const unit = unitOf(first);
  const shown: Line[] = [];
  const apart: { pin: string; why: string }[] = [];
  all.forEach((pin, color) => {
    if (unitOf(pin) !== unit) apart.push({ pin, why: `${pin} counts in ${unitOf(pin)}, ${first} in ${unit}: it has an axis of its own below` });
    else shown.push(line(pin, color, xs));
  });
  return { shown, apart };
}

export function line(pin: string, color: number, xs: Float64Array, desirable = side()): Line {
  return pin.startsWith("v:") ? valueLine(pin, color, xs) : lossLine(pin, color, xs, desirable);
}

function valueLine(pin: string, color: number, xs: Float64Array): Line {
  const of = (places: Float64Array) => halo.value(pin.slice(2), state.a, state.k, places);
  const flat = of(xs);
  const one = of(Float64Array.of(0, 1));
  const unit = state.y === "unit" ? one[1]! - one[0]! : 1;
  const n = xs.length;
  return {
    pin, color, name: pinName(pin), entry: null, xs, unit: "nats",
    values: flat.subarray(0, n).map((v) => (v - one[0]!) / unit), pulls: flat.subarray(n).map(Math.abs),
    value: (u) => (of(Float64Array.of(u))[0]! - one[0]!) / unit, pull: (u) => Math.abs(of(Float64Array.of(u))[1]!), loss: () => NaN,
    saturation: null, steepest: Math.max(...of(Float64Array.of(0, -0.0005, 0.0005)).subarray(3)), zones: { learnt: null, givenUp: null }, problem: "",
  };
}

function lossLine(pin: string, color: number, xs: Float64Array, desirable: boolean): Line {
  const found = entry(pin)!;
  const params = numbers(pin);
  const n = xs.length;
  const blank: Line = {
    pin, color, name: pin, entry: found, xs, unit: found.unit, values: new Float64Array(n).fill(NaN), pulls: new Float64Array(n).fill(NaN),
    value: () => NaN, pull: () => NaN, loss: () => NaN, saturation: null, steepest: NaN, zones: { learnt: null, givenUp: null }, problem: "",
  };
  try {
    const of = (places: Float64Array) => halo.curve(pin, params, desirable, state.n, places);
    const flat = of(xs);
    const zero = of(Float64Array.of(0));
    const slopes = flat.subarray(n, 2 * n);
    let steepest = 0;
    for (const slope of slopes) if (Math.abs(slope) > steepest) steepest = Math.abs(slope);
    const slope0 = Math.abs(zero[1]!);
    const unit = state.y === "unit" ? (slope0 > 0 && Number.isFinite(slope0) ? slope0 : steepest || 1) : 1;
    const base = Number.isFinite(zero[0]!) ? zero[0]! : 0;
    const saturation: Saturation = JSON.parse(halo.saturation(pin, params, state.n, state.eps));
    const mirrored = !desirable && found.shape === "unpaired" ? -1 : 1;
    const weight = params[found.params.findIndex((p) => p.name === (desirable ? "desirable_weight" : "undesirable_weight"))];
    const other = params[found.params.findIndex((p) => p.name === (desirable ? "undesirable_weight" : "desirable_weight"))];
    const heavier = Math.max(weight ?? 1, other ?? 1) || 1;
    const top = saturation.steepest === null ? NaN : saturation.steepest * (weight === undefined ? 1 : (weight || 0) / heavier);
    const place = (bound: number | null) => (bound === null ? null : mirrored * bound);
    return {
      ...blank, saturation, steepest: found.unit === "ratio" ? NaN : top,
      values: flat.subarray(0, n).map((loss) => (base - loss) / unit), pulls: slopes.map(Math.abs),
      value: (u) => (base - of(Float64Array.of(u))[0]!) / unit, pull: (u) => Math.abs(of(Float64Array.of(u))[1]!), loss: (u) => of(Float64Array.of(u))[0]!,
      zones: { learnt: place(saturation.learnt), givenUp: place(saturation.givenUp) },
    };
  } catch (error) {
    return { ...blank, problem: String(error) };
  }
}

/** Stretches of an axis that are learnt and given up. */
export function stretches(line: Line, [low, high]: [number, number]): { from: number; to: number; kind: "learnt" | "given" }[] {
  const out: { from: number; to: number; kind: "learnt" | "given" }[] = [];
  const mirrored = state.side === "u" && line.entry?.shape === "unpaired";
  const add = (bound: number | null, above: boolean, kind: "learnt" | "given") => {
    if (bound !== null) out.push(above ? { from: bound, to: high, kind } : { from: low, to: bound, kind });
  };
  add(line.zones.learnt, !mirrored, "learnt");
  add(line.zones.givenUp, mirrored, "given");
  return out;
}

export const axisLabel = (): string => (state.side === "d" ? "u = log-ratio − what it is compared with, nats" : "u of an undesirable answer, nats");

export function compared(shown: Line[]): string {
  const seen = shown.filter((line) => line.entry).map((line) => `${line.name}: ${line.saturation?.compared ?? line.entry!.compared}`);
  const status = shown.some((line) => !line.entry) ? ["prospect theory: the status quo"] : [];
  return `u = 0 is — ${[...status, ...seen].join(" · ")}`;
}

/** What a visitor is told of one loss, from how it saturates. */
export function tell(line: Line): string {
  const sat = line.saturation;
  if (!sat) return "";
  const at = (x: number | null) => say(x, 4);
  const eps = `${say(100 * state.eps, 3)} %`;
  switch (sat.kind) {
    case "two-sided": return `*${line.name}* learns until *${at(sat.learnt)}* nats and gives up below *${at(sat.givenUp)}* nats, where its gradient is under ${eps} of the steepest: far-wrong examples are let go like learnt ones.`;
    case "right": return `*${line.name}* has learnt above *${at(sat.learnt)}* nats${sat.target === null ? "" : `, pulls back beyond *${at(sat.target)}*`}, and never gives up: a wrong example pulls with full force however wrong it is.`;
    case "exact": return `*${line.name}* stops exactly at *${at(sat.learnt)}* nats: beyond, its gradient is 0. It never gives up.`;
    case "target": return `*${line.name}* never saturates: it draws to *${at(sat.target)}* nats and pulls back beyond.`;
    default: return `*${line.name}* never saturates.`;
  }
}

export const prospectPin = (): string => `v:${catalogue.values[3]}`;
