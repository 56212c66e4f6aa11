// Alignment losses and their gradients, from libhalo. Types and words: index.d.mts.

import { constants } from "./api.mjs";
import { plain } from "./library.mjs";

export { HaloError } from "./errors.mjs";
export { build, Loss, registry } from "./losses.mjs";
export { RefPoint } from "./refpoints.mjs";

export const version = plain("halo_version_text");

export const ZONE = Object.freeze({
  LEARNT: constants.HALO_ZONE_LEARNT,
  ACTIVE: constants.HALO_ZONE_ACTIVE,
  GIVEN_UP: constants.HALO_ZONE_GIVEN_UP,
});

export const ROLE = Object.freeze({
  SCORED: constants.HALO_ROLE_SCORED,
  MISMATCH: constants.HALO_ROLE_MISMATCH,
});
