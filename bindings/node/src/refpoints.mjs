// Reference points in split phase: accumulate on every rank, sum over the ranks, finish once a step.

import { blob, call, Handle, plain, struct } from "./library.mjs";
import { batch } from "./columns.mjs";
import { Loss } from "./losses.mjs";

export class RefPoint {
  #handle;

  constructor(name, settings = {}) {
    this.#handle =
      name instanceof Loss
        ? new Handle("halo_refpoint", "halo_refpoint_of_loss", name.pointer)
        : new Handle("halo_refpoint", "halo_refpoint_new", String(name), JSON.stringify(settings));
  }

  static ofLoss(loss) {
    return new RefPoint(loss);
  }

  width(groups = 0) {
    return Number(plain("halo_refpoint_width", this.#handle.pointer, groups));
  }

  accumulate(columns, sums = new Float64Array(this.width())) {
    if (!(sums instanceof Float64Array)) throw new TypeError("sums are added to in place: a Float64Array");
    call("halo_refpoint_accumulate", this.#handle.pointer, batch(columns).pointer, sums, sums.length);
    return sums;
  }

  finish(sums) {
    const all = Float64Array.from(sums);
    const point = struct("halo_refpoint_value", { clamped: 0, value: 0, raw: 0 });
    call("halo_refpoint_finish", this.#handle.pointer, all, all.length, point);
    return { value: point.value, raw: point.raw, clamped: point.clamped === 1 };
  }

  estimate(columns) {
    return this.finish(this.accumulate(columns));
  }

  apply(columns) {
    const rows = batch(columns);
    const values = new Float64Array(rows.rows);
    call("halo_refpoint_apply", this.#handle.pointer, rows.pointer, values, rows.rows);
    return values;
  }

  save() {
    return blob("halo_refpoint_save", this.#handle.pointer);
  }

  load(state) {
    call("halo_refpoint_load", this.#handle.pointer, state, state.length);
  }

  close() {
    this.#handle.close();
  }
}
