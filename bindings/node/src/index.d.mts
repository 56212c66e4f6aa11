import type { Columns, Floats } from "./api.mjs";

export type { Columns, Floats };

/** Why the library refused a call. Nothing that the caller owns was written. */
export declare class HaloError extends Error {
  /** The status's number, and its name, such as "HALO_E_NONFINITE". */
  readonly code: number;
  readonly status: string;
  /** A stable name of the check, such as "loss.kto.beta". */
  readonly site: string;
  /** The parameter at fault, as include/halo.h calls it. */
  readonly argument: string | null;
  /** The row, record or line at fault, from 0. */
  readonly example: number | null;
  /** What a callback returned, where one failed. */
  readonly hostCode: number;
}

/** What a step's sums are divided by. Add those of all micro-batches and ranks. */
export interface Counts {
  /** Scored rows, or pairs. */
  units: number;
  /** Completion tokens of them. */
  tokens: number;
  /** Those of desirable rows. */
  desirableTokens: number;
}

/** What a loss says about R rows with N tokens; arrays have the precision of logp. */
export interface Result {
  /** This batch's share of the global mean. */
  readonly loss: number;
  /** (R) d loss / d logp, 0 where not scored; null where tokens have gradients of their own. */
  readonly dLogp: Float32Array | Float64Array | null;
  /** (N) the same a token; null without token columns. */
  readonly dTokenLogp: Float32Array | Float64Array | null;
  /** (R) before the division by the count; of a pair, all of it stands at the chosen row. */
  readonly rowLoss: Float32Array | Float64Array;
  /** (R) beta times log-ratio, or what the loss calls reward, in nats. */
  readonly rewards: Float32Array | Float64Array;
  /** (R) ZONE.LEARNT, ACTIVE or GIVEN_UP. */
  readonly zones: Uint8Array;
  /** Addable over batches and ranks, for Loss.summarize. */
  readonly metricSums: Float64Array;
  /** This batch's metrics under TRL's names, such as "rewards/chosen". */
  readonly metrics: Record<string, number | null>;
}

export type Params = Record<string, number | boolean | string>;

/** A loss with its parameters, which never changes: new Loss("kto", { beta: 0.1 }), or a sum: new Loss("dpo + 0.5*sft"). */
export declare class Loss {
  constructor(name: string, params?: Params);
  /** Whether its gradients are those of tokens, so that it reads token columns. */
  readonly perToken: boolean;
  /**
   * Value and gradient in one pass, computed in float64 whatever the arrays are.
   * z0: the reference point in nats, one for all rows or (R); absent = 0. counts: the whole step's, where this is not all of it.
   */
  evaluate(rows: Columns & { z0?: number | Float64Array | readonly number[]; counts?: Counts }): Result;
  /** What this batch adds to the counts of its step. */
  count(rows: Columns): Counts;
  /** Metrics of metricSums that were added over batches and ranks. */
  summarize(metricSums: Float64Array | readonly number[]): Record<string, number | null>;
  /** Name, formula, shape of data, needed columns, effective parameters, reference point, where it saturates. */
  describe(): any;
  /** Frees it now; otherwise some time after the last reference is gone. */
  close(): void;
}

/** A reference point in nats: value is raw, or what raw was clamped to. */
export interface Point {
  readonly value: number;
  readonly raw: number;
  readonly clamped: boolean;
}

/** An estimator of z0 with its memory: new RefPoint("ema", { decay: 0.9 }), or the one that a loss is set to: RefPoint.ofLoss(loss). */
export declare class RefPoint {
  constructor(name: string, settings?: Params);
  static ofLoss(loss: Loss): RefPoint;
  /** How many numbers its sums are, for rows whose groups are 1 to `groups`. */
  width(groups?: number): number;
  /** Adds the rows (those with role = ROLE.MISMATCH, or the scored ones, as the estimator is) to sums, and gives sums. */
  accumulate(rows: Columns, sums?: Float64Array): Float64Array;
  /** The point that the sums of all ranks give. Once an optimizer step: moving averages move here. */
  finish(sums: Float64Array | readonly number[]): Point;
  /** accumulate and finish, where one batch is the whole step. */
  estimate(rows: Columns): Point;
  /** (R) z0 for each row after finish; 0 for rows that are not scored. */
  apply(rows: Columns): Float64Array;
  /** What the estimator remembers, for load in a later process. */
  save(): Uint8Array;
  load(state: Uint8Array): void;
  close(): void;
}

/** Losses with their parameters (type, default, range, meaning), reference points, advantages. */
export declare function registry(): any;
/** The library's version, interface and features. */
export declare function build(): any;
export declare const version: string;
export declare const ZONE: { readonly LEARNT: 0; readonly ACTIVE: 1; readonly GIVEN_UP: 2 };
export declare const ROLE: { readonly SCORED: 0; readonly MISMATCH: 1 };
