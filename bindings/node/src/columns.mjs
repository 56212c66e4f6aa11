// Arrays as the columns of a batch, without a copy where they are typed as the library reads them.
//
// Which columns there are, their elements and lengths, say the generated tables of api.mjs.

import * as api from "./api.mjs";
import { refusal, struct } from "./library.mjs";

const COLUMNS = api.columns.halo_batch;
const RESULTS = api.columns.halo_loss_result;
const NUMBERS = api.numbers.halo_batch;
const ARRAYS = { Int8Array, Uint8Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array, Float32Array, Float64Array };

/** { pointer: the struct, rows, tokens, Floats: the class of its columns of floats } */
export function batch(columns) {
  const given = new Map();
  const fields = {};
  for (const [name, value] of Object.entries(columns)) {
    if (value === undefined || value === null) continue;
    if (name in COLUMNS) given.set(name, value);
    else if (name in NUMBERS) fields[NUMBERS[name]] = Number(value);
    else throw new TypeError(`unknown column ${JSON.stringify(name)}; known: ${[...Object.keys(COLUMNS), ...Object.keys(NUMBERS)].join(", ")}`);
  }
  const Floats = precision(given);
  const arrays = new Map();
  for (const [name, value] of given) {
    const [field, kind] = COLUMNS[name];
    arrays.set(name, converted(field, value, kind === null ? Floats : ARRAYS[kind]));
  }
  const { rows, tokens } = lengths(arrays);
  for (const [name, array] of arrays) fields[COLUMNS[name][0]] = array;
  const dtype = Floats === Float32Array ? api.constants.HALO_F32 : api.constants.HALO_F64;
  return { pointer: struct("halo_batch", { ...fields, rows, dtype }), rows, tokens, Floats };
}

/** Typed arrays for what a halo_loss_result is to be filled with, by JavaScript's names. */
export function outputs(batch, names, more) {
  const sizes = { rows: batch.rows, tokens: batch.tokens, ...more };
  const made = {};
  const fields = {};
  for (const name of names) {
    const [field, kind, length] = RESULTS[name];
    const Class = kind === null ? batch.Floats : ARRAYS[kind];
    fields[field] = made[name] = new Class(sizes[length]);
  }
  return { made, fields };
}

/** Single precision if all columns of floats are. */
function precision(given) {
  let single = false;
  for (const [name, value] of given) {
    if (COLUMNS[name][1] !== null) continue;
    if (value instanceof Float32Array) single = true;
    else return Float64Array;
  }
  return single ? Float32Array : Float64Array;
}

function converted(field, value, Class) {
  const site = `batch.${field}`;
  if (value instanceof Class) return value;
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
    throw refusal("HALO_E_DTYPE", site, `${site} is no array of numbers`);
  }
  const big = Class === BigInt64Array || Class === BigUint64Array;
  const floats = Class === Float32Array || Class === Float64Array;
  const array = new Class(value.length);
  for (let row = 0; row < value.length; row++) {
    let element = value[row];
    if (typeof element === "boolean") element = field === "label" ? (element ? 1 : -1) : Number(element);
    const number = typeof element === "number" || typeof element === "bigint";
    const whole = typeof element === "bigint" || Number.isInteger(element);
    if (number && (floats || whole)) {
      array[row] = big ? BigInt(element) : Number(element);
      // What does not fit wraps around.
      if (floats || array[row] == element) continue;
    }
    throw refusal("HALO_E_DTYPE", site, `row ${row}: ${site} = ${String(element)} is no element of a ${Class.name}`, row);
  }
  return array;
}

/** The library cannot see how long an array is, so every length is compared here. */
function lengths(arrays) {
  const offsets = arrays.get("offsets");
  const said = { rows: null, "rows+1": null, tokens: null };
  const by = {};
  if (offsets) {
    if (offsets.length === 0) throw refusal("HALO_E_SHAPE", "batch.offsets", "batch.offsets is empty; it has one more than there are rows");
    said.rows = offsets.length - 1;
    said.tokens = Number(offsets[offsets.length - 1]);
    by.rows = by.tokens = "batch.offsets";
  }
  for (const [name, array] of arrays) {
    const [field, , length] = COLUMNS[name];
    if (length === "rows" && said.rows === null) {
      said.rows = array.length;
      by.rows = `batch.${field}`;
    }
    if (said[length] !== null && array.length !== said[length]) {
      const message = `batch.${field} has ${array.length} elements, but ${by[length]} says ${said[length]} ${length}`;
      throw refusal("HALO_E_SHAPE", `batch.${field}`, message);
    }
  }
  return { rows: said.rows ?? 0, tokens: said.tokens ?? 0 };
}
