// The engine: halo-loss as wasm. Every number on the page comes from here.
import * as halo from "../generated/halo.js";
import type { Balance, Catalogue, Disagreement, Entry, Saturation } from "../generated/halo.js";

export { halo };
export type { Balance, Catalogue, Disagreement, Entry, Saturation };
export type { Param } from "../generated/halo.js";

export let catalogue: Catalogue;
let bytes: Uint8Array<ArrayBuffer>;
const entries = new Map<string, Entry>();

/** Unpacks the module that the page carries and starts it. */
export async function start(): Promise<void> {
  bytes = await unpack(document.getElementById("engine")!.textContent!);
  halo.initSync({ module: bytes });
  catalogue = JSON.parse(halo.catalogue());
  for (const entry of catalogue.losses) entries.set(entry.name, entry);
}

/** The module's bytes, for a worker's own instance. */
export const moduleBytes = (): Uint8Array<ArrayBuffer> => bytes;

export const entry = (name: string): Entry | undefined => entries.get(name);

/** Base64 of gzip to bytes. */
export async function unpack(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A number as people read it. */
export const say = (x: number | null | undefined, digits = 4): string => halo.format(x ?? NaN, digits);

/** A share in per cent. */
export const percent = (share: number, digits = 3): string => `${say(100 * share, digits)} %`;

/** `n` equal steps from `low` to `high`. */
export function grid(low: number, high: number, n: number): Float64Array {
  return Float64Array.from({ length: n + 1 }, (_, i) => low + ((high - low) * i) / n);
}
