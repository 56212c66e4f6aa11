"""Whose completion stands in as y' for which prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._library import call, ffi

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["draw_pairing"]


def draw_pairing(rows: int, *, group: ArrayLike | None = None, seed: int = 0) -> np.ndarray:
    """uint32 (rows): the row whose completion each row's prompt meets for the reference point, of another group.

    partner[i] = i says that there is none: leave the row out. group: uint64 (rows), equal = the same prompt or identical
    completions; absent = every row is a group of its own. seed 0: the rows are rotated in the order that they have.
    """
    partner = np.empty(rows, np.uint32)
    groups = ffi.NULL
    if group is not None:
        array = np.ascontiguousarray(group, np.uint64)
        if array.shape != (rows,):
            raise ValueError(f"group has the shape {array.shape}, not ({rows},)")
        groups = ffi.from_buffer("uint64_t[]", array)
    place = ffi.from_buffer("uint32_t[]", partner, require_writable=True)
    call("halo_pairing_draw", rows, groups, seed, place)
    return partner
