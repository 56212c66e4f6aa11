// Reference points: sums, memory, rows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HaloError, Loss, RefPoint, ROLE } from "../src/index.mjs";

const mismatched = { logp: [-1], refLogp: [-2], role: [ROLE.MISMATCH] };

test("an estimator of a loss serves its rows", () => {
  const point = RefPoint.ofLoss(new Loss("kto"));
  const rows = { logp: [-20, -9], refLogp: [-21, -9.5], role: [ROLE.SCORED, ROLE.MISMATCH] };
  assert.deepEqual(point.estimate(rows), { value: 0.5, raw: 0.5, clamped: false });
  assert.deepEqual([...point.apply(rows)], [0.5, 0]);
});

test("sums of ranks are added", () => {
  const point = new RefPoint("mismatch");
  const sums = point.accumulate(mismatched);
  assert.equal(point.accumulate({ logp: [-5], refLogp: [-2], role: [ROLE.MISMATCH] }, sums), sums);
  assert.deepEqual(point.finish(sums), { value: 0, raw: -1, clamped: true });
  assert.throws(() => point.accumulate(mismatched, [0, 0]), /in place/);
  assert.throws(() => point.accumulate(mismatched, new Float64Array(9)), { status: "HALO_E_SHAPE", argument: "width" });
});

test("a memory goes on in another process", () => {
  const rows = { logp: [-1, -3], refLogp: [-2, -2.5] };
  const [first, second] = [new RefPoint("ema", { decay: 0.5 }), new RefPoint("ema", { decay: 0.5 })];
  first.estimate(rows);
  second.load(first.save());
  assert.deepEqual(first.estimate(rows), second.estimate(rows));
  assert.throws(() => second.load(Buffer.from("{}")), { status: "HALO_E_FORMAT", argument: "data" });
  assert.deepEqual(first.save(), second.save());
});

test("a loss without a point says so", () => {
  assert.throws(() => RefPoint.ofLoss(new Loss("dpo")), (error) => error instanceof HaloError && /no reference point/.test(error.message));
});
