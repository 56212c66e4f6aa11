// The module gives what the native program gives, bit for bit: `cargo xtask wasm --check` writes the native side.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as halo from "../generated/halo.js";

halo.initSync({ module: readFileSync(new URL("../generated/halo_bg.wasm", import.meta.url)) });
const cases = JSON.parse(readFileSync(new URL("../../target/wasm-vectors.json", import.meta.url)));

function numbers(bits) {
  const view = new DataView(new ArrayBuffer(bits.length / 2));
  for (let at = 0; at < bits.length; at += 8) view.setUint32(at / 2, parseInt(bits.slice(at, at + 8), 16));
  return Float64Array.from({ length: bits.length / 16 }, (_, i) => view.getFloat64(8 * i));
}

function bits(numbers) {
  const view = new DataView(new ArrayBuffer(8 * numbers.length));
  numbers.forEach((x, i) => (Number.isNaN(x) ? view.setBigUint64(8 * i, 0x7ff8000000000000n) : view.setFloat64(8 * i, x)));
  return Buffer.from(view.buffer).toString("hex");
}

function call(c) {
  const params = c.params === undefined ? undefined : numbers(c.params);
  if (c.loss) return halo.evaluate(c.loss, params, numbers(c.rows), numbers(c.tokens));
  if (c.curve) return halo.curve(c.curve, params, false, 100, numbers(c.places));
  if (c.saturation) return halo.saturation(c.saturation, params, 100, 0.01);
  return halo.means(-1, 2, 4, 100, c.means);
}

test("every loss gives the native bits, and the native errors", () => {
  const seen = { bits: new Set(), errors: 0 };
  for (const [index, c] of cases.entries()) {
    const name = c.loss ?? c.curve ?? c.saturation ?? "means";
    let given;
    try {
      given = call(c);
    } catch (error) {
      assert.equal(String(error), c.error, `case ${index}, ${name}`);
      seen.errors += 1;
      continue;
    }
    if (c.text !== undefined) assert.equal(given, c.text, `case ${index}, ${name}`);
    else assert.equal(bits(given), c.bits, `case ${index}, ${name}`);
    if (c.loss) seen.bits.add(c.loss);
  }
  const catalogue = JSON.parse(halo.catalogue());
  for (const loss of catalogue.losses) assert.ok(seen.bits.has(loss.name), `${loss.name} was never compared`);
  console.log(`${cases.length} cases, ${seen.errors} of them errors`);
});

test("the handbook's spot values", () => {
  const one = (name, u, place) => halo.curve(name, new Float64Array(), true, 100, Float64Array.of(u))[place];
  const [kto, dpo] = JSON.parse(halo.catalogue()).pins;
  assert.equal(1 - one(kto, 10, 0), 0.7310585786300049);
  assert.ok(Math.abs(one(kto, 10, 1) + 0.019661193324148184) < 1e-17);
  assert.equal(one(dpo, 0, 0), 0.6931471805599453);
  assert.ok(Math.abs(one(dpo, -60, 1) + 0.09975273768433654) < 1e-16);
  const prospect = halo.value("kahneman_tversky", 0.88, 2.25, Float64Array.of(10, -10));
  assert.ok(Math.abs(prospect[0] - 7.5857757502918) < 1e-12 && Math.abs(prospect[1] + 17.0679954381566) < 1e-12);
});

// Where a bound lies beyond every log-probability (above 0 without a reference) there is no slope to look at.
test("at its bounds a loss's slope is the tolerance of its steepest", () => {
  for (const { name, unit } of JSON.parse(halo.catalogue()).losses) {
    for (const eps of [0.01, 0.05, 0.1]) {
      const found = JSON.parse(halo.saturation(name, new Float64Array(), 100, eps));
      if (found.steepest === null || unit !== "nats" || found.kind === "exact") continue;
      for (const bound of [found.learnt, found.givenUp].filter((bound) => bound !== null)) {
        const slope = Math.abs(halo.curve(name, new Float64Array(), true, 100, Float64Array.of(bound))[1]);
        assert.ok(Number.isNaN(slope) || Math.abs(slope / found.steepest / eps - 1) < 1e-6, `${name} at ${bound}: ${slope}`);
      }
    }
  }
});
