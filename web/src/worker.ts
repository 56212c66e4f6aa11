// A run's examples, away from the page's own thread: reading the file, and counting under every loss.
import * as halo from "../generated/halo.js";
import { Reader, type Table } from "./import";

export interface Loaded { kind: "loaded"; table: Omit<Table, "columns" | "ids" | "texts">; extent: number[]; steps: number[] }
export interface Ask {
  kind: "ask"; id: number; until: number; z0: number; eps: number; low: number; high: number; bins: number;
  own: { name: string; params: Float64Array } | null;
  grid: { name: string; params: Float64Array; beta: number | null }[];
}
export interface Answer {
  kind: "answer"; id: number; rows: number; bins: Uint32Array; extent: number[]; own: Float64Array | null; why: string;
  furthest: { id: string; label: boolean; prompt: string; completion: string; numbers: number[]; ratio: number; step: number }[];
  given: string[]; over: Float64Array; grid: ({ row: Float64Array } | { why: string })[];
}

let run: halo.Run | undefined;
let table: Table | undefined;
const reply = (message: unknown) => postMessage(message);

onmessage = async ({ data }) => {
  try {
    if (data.kind === "start") halo.initSync({ module: data.bytes });
    if (data.kind === "read") await read(data.blob, data.gzip);
    if (data.kind === "divide") {
      build(data.by);
      loaded();
    }
    if (data.kind === "ask") answer(data);
  } catch (error) {
    reply({ kind: "failed", why: String(error instanceof Error ? error.message : error) });
  }
};

async function read(blob: Blob, gzip: boolean): Promise<void> {
  const reader = new Reader();
  let stream: ReadableStream = blob.stream();
  if (gzip) stream = stream.pipeThrough(new DecompressionStream("gzip"));
  let seen = 0;
  let told = 0;
  for await (const piece of stream.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
    reader.push(piece);
    seen += piece.length;
    if (performance.now() - told < 100) continue;
    told = performance.now();
    reply({ kind: "progress", share: gzip ? 0 : seen / blob.size });
  }
  table = reader.finish();
  const found = (JSON.parse(halo.catalogue()) as halo.Catalogue).losses.find((loss) => loss.name === table!.loss);
  // the engine writes a pair as two lines
  if (found?.shape === "paired") table.paired = true;
  build(1);
  loaded();
}

/** The run in nats: recorded rewards divided by their β. */
function build(by: number): void {
  const c = table!.columns;
  const nats = (column: number[]) => Float64Array.from(column, (x) => x / by);
  run?.free();
  run = new halo.Run(
    table!.paired, Uint8Array.from(c.label), nats(c.logp), nats(c.ref), Uint32Array.from(c.tokens),
    Float64Array.from(c.z0), Float64Array.from(c.weight), Uint32Array.from(c.step), Uint32Array.from(c.unit),
  );
}

function loaded(): void {
  const { columns, ids, texts, ...rest } = table!;
  reply({ kind: "loaded", table: rest, extent: Array.from(run!.extent()), steps: [...new Set(columns.step)].sort((a, b) => a - b) });
}

function answer(ask: Ask): void {
  if (!run || !table) return;
  const rows = run.until(ask.until);
  run.setZ0(ask.z0);
  const out: Answer = {
    kind: "answer", id: ask.id, rows, bins: run.bins(ask.low, ask.high, ask.bins), extent: Array.from(run.extent()), own: null, why: "",
    furthest: [], given: [], over: new Float64Array(), grid: [],
  };
  if (ask.own) {
    try {
      const { name, params } = ask.own;
      out.own = run.standing(name, params, ask.eps);
      const four = run.furthest(name, params, ask.eps, 50);
      for (let at = 0; at < four.length; at += 4) out.furthest.push(example(four[at]!, Array.from(four.subarray(at + 1, at + 4))));
      out.given = Array.from(run.givenUp(name, params, ask.eps), (line) => table!.ids[line] ?? "");
      out.over = run.overSteps(name, params, ask.eps);
    } catch (error) {
      out.why = String(error);
    }
  }
  out.grid = ask.grid.map(({ name, params }) => {
    try {
      return { row: run!.standing(name, params, ask.eps) };
    } catch (error) {
      return { why: String(error) };
    }
  });
  reply(out);
}

function example(line: number, numbers: number[]) {
  const c = table!.columns;
  const unit = c.unit[line]!;
  const [prompt, completion] = table!.texts.get(unit) ?? ["", ""];
  return {
    id: table!.ids[line] ?? "", label: c.label[line] === 1, prompt, completion, numbers, ratio: c.logp[line]! - c.ref[line]!, step: c.step[line]!,
  };
}
