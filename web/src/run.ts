// The visitor's run: a worker that holds its examples, what was asked of it, and what it last said.
import { catalogue, entry, halo, moduleBytes, unpack, type Entry } from "./engine";
import { changed, numbers, onChange, pins, state, window_ } from "./state";
import type { Answer, Ask, Loaded } from "./worker";

export const BETAS = [0.01, 0.05, 0.1, 0.2, 0.5, 1];
export const BINS = 160;
interface Judge { name: string; params: Float64Array; beta: number | null }
export interface Row { name: string; beta: number | null; pinned: "own" | "page" | "" }
export const run = {
  name: "", loaded: null as Loaded | null, answer: null as Answer | null, window: [0, 1] as [number, number], rows: [] as Row[], barred: [] as { name: string; why: string }[],
  own: null as Judge | null, judge: null as Judge | null, until: 0, progress: -1, error: "", example: false, divisor: 1, asking: false,
  /** Whom progress interests: drawing the page for it would be slower than reading. */
  watching: new Set<() => void>(),
};
let worker: Worker | null = null;
let serial = 0;
let asked = "";

async function start(): Promise<Worker> {
  worker?.terminate();
  const code = await unpack(document.getElementById("worker")!.textContent!);
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  worker = new Worker(url);
  URL.revokeObjectURL(url);
  worker.onmessage = ({ data }) => hear(data);
  worker.onerror = (event) => fail(event.message || "the worker could not start");
  worker.postMessage({ kind: "start", bytes: moduleBytes() });
  return worker;
}

/** Reads a file in the worker; nothing of an earlier one stays. */
export function load(blob: Blob, name: string, gzip: boolean, example = false): void {
  Object.assign(run, { name, loaded: null, answer: null, own: null, rows: [], barred: [], progress: 0, error: "", example, divisor: 1, until: 0, asking: false });
  asked = "";
  void start().then((worker) => worker.postMessage({ kind: "read", blob, gzip }));
  changed();
}

export function cancel(): void {
  worker?.terminate();
  Object.assign(run, { loaded: null, answer: null, progress: -1, error: "cancelled", rows: [] });
  changed();
}

/** What recorded rewards are divided by to be nats. */
export function divide(by: number): void {
  if (!(by > 0) || by === run.divisor) return;
  run.divisor = by;
  worker?.postMessage({ kind: "divide", by });
}

function hear(data: { kind: string } & Record<string, unknown>): void {
  if (data.kind === "progress") {
    run.progress = data["share"] as number;
    for (const listener of run.watching) listener();
    return;
  }
  if (data.kind === "failed") fail(String(data["why"]));
  if (data.kind === "loaded") {
    run.loaded = data as unknown as Loaded;
    run.progress = -1;
    run.until = run.loaded.steps.at(-1) ?? 0;
    run.own = recorded(run.loaded);
    asked = "";
  }
  if (data.kind === "answer") {
    run.answer = data as unknown as Answer;
    run.asking = false;
  }
  changed();
}

/** Says why there is no run; nothing of an earlier one stays. */
export function fail(why: string): void {
  worker?.terminate();
  Object.assign(run, { loaded: null, answer: null, progress: -1, error: why, rows: [] });
  changed();
}

/** The run's own loss as its header has it. */
function recorded({ table }: Loaded): typeof run.own {
  const found = entry(table.loss);
  if (!found) return null;
  const params = Float64Array.from(found.params, (param) => {
    const value = table.params[param.name];
    if (typeof value === "number") return value;
    if (typeof value === "boolean") return Number(value);
    return typeof value === "string" ? param.choices?.indexOf(value) ?? NaN : NaN;
  });
  const at = found.params.findIndex((param) => param.name === "beta");
  return { name: found.name, params, beta: at < 0 ? null : params[at]! };
}

/** Why a loss cannot be computed from what the file holds; empty if it can. */
function missing(loss: Entry, { table }: Loaded): string {
  if (loss.shape === "paired" && !table.paired) return "needs pairs";
  if (loss.shape === "grouped") return "needs groups with rewards";
  for (const need of loss.needs) {
    if (need === "reference" && !table.hasReference) return "needs the reference’s log-probabilities";
    if (need === "tokens" && !table.hasTokens) return "needs a column `tokens`";
    if (!["reference", "reference point", "tokens", "control tokens"].includes(need)) return `needs ${need}`;
  }
  return "";
}

function grid(losses: Entry[], loaded: Loaded): { rows: Row[]; asks: Ask["grid"] } {
  const rows: Row[] = [];
  const asks: Ask["grid"] = [];
  const add = (row: Row, params: Float64Array) => {
    rows.push(row);
    asks.push({ name: row.name, params, beta: row.beta });
  };
  const betaOf = (name: string, params: Float64Array) => {
    const at = entry(name)!.params.findIndex((param) => param.name === "beta");
    return at < 0 ? null : Number.isNaN(params[at]!) ? entry(name)!.params[at]!.default : params[at]!;
  };
  if (run.own && !missing(entry(run.own.name)!, loaded)) add({ name: run.own.name, beta: run.own.beta, pinned: "own" }, run.own.params);
  for (const pin of pins()) {
    const found = entry(pin);
    if (found && !missing(found, loaded)) add({ name: pin, beta: betaOf(pin, numbers(pin)), pinned: "page" }, numbers(pin));
  }
  for (const loss of losses) {
    const saturates = JSON.parse(halo.saturation(loss.name, numbers(loss.name), state.n, 0.01));
    const betas = loss.params.some((param) => param.name === "beta") && (saturates.learnt !== null || saturates.givenUp !== null) ? BETAS : [null];
    for (const beta of betas) add({ name: loss.name, beta, pinned: "" }, numbers(loss.name, beta === null ? {} : { beta }));
  }
  return { rows, asks };
}

/** Asks the worker for what the page now shows, one question at a time. */
function ask(): void {
  const { loaded } = run;
  if (!loaded || run.asking || !worker) return;
  const losses = loaded.table.paired ? shapes(["paired", "unpaired", "any"]) : shapes(["unpaired", "any"]);
  const can = losses.filter((loss) => !missing(loss, loaded));
  const { rows, asks } = grid(can, loaded);
  const [low, high] = window_();
  const question = JSON.stringify([run.until, state.z0, state.eps, low, high, run.divisor, asks.map((a) => [a.name, ...a.params])]);
  if (question === asked) return;
  asked = question;
  run.asking = true;
  run.rows = rows;
  run.window = [low, high];
  run.barred = shapes(["unpaired", "paired", "grouped", "any"]).filter((loss) => missing(loss, loaded)).map((loss) => ({ name: loss.name, why: missing(loss, loaded) }));
  // without a header the first pinned loss that reads data of this shape judges
  const shape = loaded.table.paired ? "paired" : "unpaired";
  const first = asks.find((ask) => entry(ask.name)!.shape === shape) ?? asks[0];
  const own = run.own ?? (first ? { name: first.name, params: first.params, beta: first.beta } : null);
  run.judge = own;
  worker.postMessage({ kind: "ask", id: (serial += 1), until: run.until, z0: state.z0, eps: state.eps, low, high, bins: BINS, own, grid: asks } satisfies Ask);
}

const shapes = (allowed: string[]): Entry[] => catalogue.losses.filter((loss) => allowed.includes(loss.shape));

export function follow(): void {
  onChange(ask);
}
