// Losses: arrays without a copy, errors that name what is wrong, handles.

import assert from "node:assert/strict";
import { test } from "node:test";

import { build, HaloError, Loss, registry, version } from "../src/index.mjs";

const logp = Float64Array.of(-20, -18, -31.5, -9);
const refLogp = Float64Array.of(-22, -17, -30, -9.5);
const label = Int8Array.of(1, -1, 1, -1);

const kto = (more = {}) => new Loss("kto", { beta: 0.1 }).evaluate({ logp, refLogp, label, z0: 0.3, ...more });

const refused = (status, call, fields = {}) =>
  assert.throws(call, (error) => {
    assert.ok(error instanceof HaloError, String(error));
    const expected = { status, ...fields };
    const found = Object.fromEntries(Object.keys(expected).map((key) => [key, error[key]]));
    assert.deepEqual(found, expected, error.message);
    return true;
  });

test("a gradient is the finite difference", () => {
  const out = kto();
  const step = 1e-5;
  for (let row = 0; row < 4; row++) {
    const moved = [step, -step].map((by) => kto({ logp: logp.map((value, at) => value + (at === row ? by : 0)) }).loss);
    assert.ok(Math.abs((moved[0] - moved[1]) / (2 * step) - out.dLogp[row]) < 1e-9);
  }
});

test("metrics have TRL's names", () => {
  const { metrics } = kto();
  assert.equal(metrics.kl, 0.3);
  assert.ok(Math.abs(metrics["rewards/chosen"] - (0.1 * (2 - 1.5)) / 2) < 1e-15);
});

test("single precision comes back as such", () => {
  const out = kto({ logp: Float32Array.from(logp), refLogp: Float32Array.from(refLogp) });
  assert.ok(out.dLogp instanceof Float32Array && out.rewards instanceof Float32Array);
  assert.deepEqual(out.dLogp, Float32Array.from(kto().dLogp));
  assert.ok(kto({ logp: Float32Array.from(logp) }).dLogp instanceof Float64Array);
});

test("the kind of an array does not matter", () => {
  const expected = kto().dLogp;
  for (const given of [{ logp: [...logp] }, { label: [...label] }, { label: [true, false, true, false] }, { label: Float32Array.from(label) }]) {
    assert.deepEqual(kto(given).dLogp, expected);
  }
  assert.deepEqual(kto({ z0: [0.3, 0.3, 0.3, 0.3] }).dLogp, expected);
});

test("a part of a larger array is read where it is", () => {
  const large = Float64Array.of(9, ...logp, 9);
  assert.deepEqual(kto({ logp: large.subarray(1, 5) }).dLogp, kto().dLogp);
});

test("counts make micro-batches one batch", () => {
  const loss = new Loss("kto", { beta: 0.1 });
  const parts = [[0, 1], [1, 4]].map(([from, to]) => ({
    logp: logp.subarray(from, to),
    refLogp: refLogp.subarray(from, to),
    label: label.subarray(from, to),
  }));
  const counts = parts.map((part) => loss.count(part)).reduce((a, b) => ({
    units: a.units + b.units,
    tokens: a.tokens + b.tokens,
    desirableTokens: a.desirableTokens + b.desirableTokens,
  }));
  assert.equal(counts.units, 4);
  const outs = parts.map((part) => loss.evaluate({ ...part, z0: 0.3, counts }));
  assert.deepEqual(outs.flatMap((out) => [...out.dLogp]), [...kto().dLogp]);
});

test("pairs by group", () => {
  const loss = new Loss("dpo", { beta: 0.2 });
  const turn = loss.evaluate({ logp, refLogp, label });
  const order = [0, 2, 1, 3];
  const of = (values) => order.map((at) => values[at]);
  for (const group of [[7, 9, 7, 9], BigUint64Array.of(7n, 9n, 7n, 9n)]) {
    const out = loss.evaluate({ logp: of(logp), refLogp: of(refLogp), label: of(label), group });
    assert.deepEqual([...out.dLogp], of(turn.dLogp));
  }
});

test("no rows are a loss of zero", () => {
  const out = kto({ logp: [], refLogp: [], label: [] });
  assert.deepEqual([out.loss, out.dLogp.length], [0, 0]);
});

test("names and values are refused with the nearest", () => {
  refused("HALO_E_NOT_FOUND", () => new Loss("kt0"), { argument: "name" });
  refused("HALO_E_NOT_FOUND", () => new Loss("kto", { bta: 1 }), { argument: "params_json" });
  refused("HALO_E_INVALID_ARGUMENT", () => new Loss("kto", { beta: -1 }), { site: "loss.beta" });
});

test("a NaN is refused with its row", () => {
  refused("HALO_E_NONFINITE", () => kto({ logp: [-20, -18, NaN, -9] }), { example: 2, argument: "batch" });
});

test("elements that are not read", () => {
  refused("HALO_E_DTYPE", () => kto({ label: [1, 1, 300, 1] }), { site: "batch.label", example: 2 });
  refused("HALO_E_DTYPE", () => kto({ label: [1, 0.5, 1, 1] }), { site: "batch.label", example: 1 });
  refused("HALO_E_DTYPE", () => kto({ group: [1, -1, 1, 1] }), { site: "batch.group", example: 1 });
  refused("HALO_E_DTYPE", () => kto({ logp: ["a", 1, 1, 1] }), { site: "batch.logp", example: 0 });
  refused("HALO_E_DTYPE", () => kto({ logp: 3 }), { site: "batch.logp" });
});

test("lengths that disagree never reach the library", () => {
  refused("HALO_E_SHAPE", () => kto({ refLogp: refLogp.subarray(0, 2) }), { site: "batch.ref_logp" });
  refused("HALO_E_SHAPE", () => kto({ offsets: [0, 1, 2, 3, 9], tokenLogp: logp }), { site: "batch.token_logp" });
  refused("HALO_E_SHAPE", () => kto({ offsets: [0, 1, 2] }), { site: "batch.logp" });
  refused("HALO_E_SHAPE", () => kto({ offsets: [] }), { site: "batch.offsets" });
});

test("an unknown column is a type error", () => {
  assert.throws(() => kto({ logps: logp }), { name: "TypeError", message: /unknown column "logps"; known: label/ });
});

test("a closed loss is refused, and closes again", () => {
  const loss = new Loss("kto");
  loss.close();
  loss.close();
  refused("HALO_E_INVALID_ARGUMENT", () => loss.evaluate({ logp, refLogp, label }), { argument: "loss" });
});

test("the registry lists what can be made", () => {
  for (const spec of registry().losses) assert.equal(new Loss(spec.name).describe().name, spec.name);
  assert.equal(build().version, version);
});
