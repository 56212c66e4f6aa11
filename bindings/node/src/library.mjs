// The library itself: found, opened, checked; calls that throw; blobs that become bytes.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import koffi from "koffi";

import * as api from "./api.mjs";
import { HaloError } from "./errors.mjs";

const NAMES = { darwin: "libhalo.dylib", win32: "halo.dll" };

function path() {
  if (process.env.HALO_LIBRARY) return process.env.HALO_LIBRARY;
  const name = NAMES[process.platform] ?? "libhalo.so";
  const packed = fileURLToPath(new URL(`../lib/${name}`, import.meta.url));
  if (existsSync(packed)) return packed;
  throw new Error(`${packed} is missing: set HALO_LIBRARY to a built libhalo`);
}

const opened = koffi.load(path());

for (const name of api.opaque) koffi.opaque(name);
for (const [name, type] of Object.entries(api.aliases)) koffi.alias(name, type);
for (const prototype of Object.values(api.callbacks)) koffi.proto(prototype);
const structs = {};
for (const [name, fields] of Object.entries(api.structs)) structs[name] = koffi.struct(name, fields);

const functions = new Map();

/** A function by its name; declared when first used. */
function named(name) {
  let found = functions.get(name);
  if (!found) {
    found = opened.func(api.functions[name]);
    functions.set(name, found);
  }
  return found;
}

/** Calls a function that cannot fail. */
export function plain(name, ...args) {
  return named(name)(...args);
}

/** Calls a function that can fail, without its last parameter; throws a HaloError. */
export function call(name, ...args) {
  const record = struct("halo_error");
  if (named(name)(...args, record) !== api.constants.HALO_OK) throw failure(name, record);
}

/** A struct that knows its size: HALO_INIT. What is not set is zero. */
export function struct(name, fields = {}) {
  const zero = name === "halo_error" ? { code: 0, argument: 0, host_code: 0, example: 0, site: "", message: "" } : {};
  return { struct_size: koffi.sizeof(structs[name]), ...zero, ...fields };
}

/** An error that this side of the boundary found, in the library's own words. */
export function refusal(status, site, message, example = null) {
  return new HaloError(message, { code: api.constants[status], status, site, example });
}

function failure(name, record) {
  return new HaloError(record.message, {
    code: record.code,
    status: plain("halo_status_name", record.code),
    site: record.site,
    argument: api.parameters[name]?.[record.argument] ?? null,
    example: record.example >= 0 ? Number(record.example) : null,
    hostCode: record.host_code,
  });
}

// With the address of the bytes, where the generated declaration has text that ends with NUL.
const blobData = opened.func("const void *halo_blob_data(const halo_blob *blob, _Out_ size_t *len)");

/** The bytes that a function gives in its last parameter. */
export function blob(name, ...args) {
  const out = [null];
  call(name, ...args, out);
  try {
    const length = [0];
    const data = blobData(out[0], length);
    return Buffer.from(Buffer.from(koffi.view(data, Number(length[0]))));
  } finally {
    plain("halo_blob_free", out[0]);
  }
}

const finished = new FinalizationRegistry(({ free, pointer }) => plain(free, pointer));

/** Owns a handle: freed by close(), or some time after the last reference to it is gone. */
export class Handle {
  #free;
  #pointer;

  /** kind: such as "halo_loss"; make: the function whose last parameter gives it. */
  constructor(kind, make, ...args) {
    const out = [null];
    call(make, ...args, out);
    this.#pointer = out[0];
    this.#free = `${kind}_free`;
    finished.register(this, { free: this.#free, pointer: out[0] }, this);
  }

  /** For calls; NULL once closed, which the library refuses with words. */
  get pointer() {
    return this.#pointer;
  }

  close() {
    if (this.#pointer === null) return;
    finished.unregister(this);
    plain(this.#free, this.#pointer);
    this.#pointer = null;
  }
}

call("halo_version_check", api.constants.HALO_ABI_VERSION);
