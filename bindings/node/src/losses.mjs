// Losses: value and gradient at the log-probabilities, by name.

import { blob, call, Handle, plain, struct } from "./library.mjs";
import { batch, outputs } from "./columns.mjs";

/** What a loss says about a batch; see index.d.mts. */
class Result {
  #loss;

  constructor(loss, value, arrays) {
    this.#loss = loss;
    this.loss = value;
    this.dLogp = arrays.dLogp ?? null;
    this.dTokenLogp = arrays.dTokenLogp ?? null;
    this.rowLoss = arrays.rowLoss;
    this.rewards = arrays.rowReward;
    this.zones = arrays.rowZone;
    this.metricSums = arrays.metricSums;
  }

  get metrics() {
    return this.#loss.summarize(this.metricSums);
  }
}

export class Loss {
  #handle;
  #perToken;
  #width;

  constructor(name, params = {}) {
    this.#handle = new Handle("halo_loss", "halo_loss_new", String(name), JSON.stringify(params));
    this.#perToken = this.describe().per_token;
    this.#width = Number(plain("halo_loss_metric_count", this.#handle.pointer));
  }

  get perToken() {
    return this.#perToken;
  }

  /** For RefPoint.ofLoss. */
  get pointer() {
    return this.#handle.pointer;
  }

  evaluate({ z0, counts, ...columns }) {
    if (z0 !== undefined && z0 !== null) columns[typeof z0 === "number" ? "commonRefpoint" : "refpoint"] = z0;
    if (counts) {
      columns.globalCount = counts.units;
      columns.globalTokens = counts.tokens;
      columns.globalDesirableTokens = counts.desirableTokens;
    }
    const rows = batch(columns);
    const names = ["rowLoss", "rowReward", "rowZone", "metricSums"];
    if (!this.#perToken) names.push("dLogp");
    if (columns.tokenLogp) names.push("dTokenLogp");
    const { made, fields } = outputs(rows, names, { metric_count: this.#width });
    const result = struct("halo_loss_result", { ...fields, metric_count: this.#width });
    call("halo_loss_evaluate", this.#handle.pointer, rows.pointer, result);
    return new Result(this, result.loss, made);
  }

  count(columns) {
    const counts = new Float64Array(3);
    call("halo_loss_count", this.#handle.pointer, batch(columns).pointer, counts, 3);
    const [units, tokens, desirableTokens] = counts;
    return { units, tokens, desirableTokens };
  }

  summarize(metricSums) {
    const sums = Float64Array.from(metricSums);
    return JSON.parse(blob("halo_loss_summarize", this.#handle.pointer, sums, sums.length).toString());
  }

  describe() {
    return JSON.parse(blob("halo_loss_describe", this.#handle.pointer).toString());
  }

  close() {
    this.#handle.close();
  }
}

export function registry() {
  return JSON.parse(plain("halo_registry_describe"));
}

export function build() {
  return JSON.parse(plain("halo_build_describe"));
}
