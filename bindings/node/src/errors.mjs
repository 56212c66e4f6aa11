// The one exception of this package: why the library refused a call.

export class HaloError extends Error {
  name = "HaloError";

  /** fields: code, status, site, argument, example, hostCode; see index.d.mts. */
  constructor(message, fields) {
    super(message);
    Object.assign(this, { argument: null, example: null, hostCode: 0, ...fields });
  }
}
