// The golden cases: the same bits as the Rust crate gives on this machine.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Loss, registry } from "../src/index.mjs";

const file = process.env.HALO_VECTORS;
const skip = file ? false : "HALO_VECTORS names no file: `cargo xtask clients Node` writes one";
const vectors = file ? JSON.parse(readFileSync(file, "utf8")) : [];

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const bits = (values) => new BigUint64Array(Float64Array.from(values).buffer);

test("every loss has vectors", { skip }, () => {
  const there = new Set(vectors.map((vector) => vector.loss));
  assert.deepEqual(registry().losses.map((spec) => spec.name).filter((name) => !there.has(name)), []);
});

test("values, gradients, rewards and zones are the native bits", { skip }, () => {
  for (const vector of vectors) {
    const about = `${vector.loss}: ${vector.name}`;
    const loss = new Loss(vector.loss, vector.params);
    const [units, tokens, desirableTokens] = vector.counts;
    const columns = Object.fromEntries(Object.entries(vector.columns).map(([name, values]) => [camel(name), values]));
    const out = loss.evaluate({ ...columns, counts: { units, tokens, desirableTokens } });
    const { expected } = vector;
    assert.deepEqual(bits([out.loss]), bits([expected.loss]), about);
    assert.deepEqual(bits(loss.perToken ? out.dTokenLogp : out.dLogp), bits(expected.slopes), about);
    assert.deepEqual(bits(out.rewards), bits(expected.rewards), about);
    assert.deepEqual([...out.zones], expected.zones, about);
    loss.close();
  }
});
