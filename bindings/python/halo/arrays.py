"""numpy arrays as the columns of a batch, without a copy where the elements are as the library reads them.

Which columns there are, their elements and lengths, says the generated table ``_api.COLUMNS``.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from . import _api
from ._library import ffi, refusal, struct

__all__ = ["Batch", "outputs"]

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_C_TYPES = {"float32": "float[]", "float64": "double[]"}


def _table(name: str) -> dict[str, tuple[np.dtype | None, str, str]]:
    """Column → its dtype (None = the batch's), C's type of it, its length. Looked up once: numpy's names are slow."""
    return {
        column: (np.dtype(dtype) if dtype else None, _C_TYPES.get(dtype or "", f"{dtype}_t[]"), length)
        for column, (dtype, length) in _api.COLUMNS[name].items()
    }


_COLUMNS = _table("halo_batch")
_RESULTS = _table("halo_loss_result")


class Batch:
    """Rows in the library's form. The arrays stay referenced as long as this object lives.

    pointer: the struct; rows, tokens: how many there are; dtype: numpy's, of the columns of floats.
    """

    __slots__ = ("dtype", "keep", "pointer", "rows", "tokens")

    def __init__(self, columns: Mapping[str, Any]) -> None:
        arrays: dict[str, np.ndarray] = {}
        self.pointer = pointer = struct("halo_batch")
        for name, value in columns.items():
            if value is None:
                continue
            if name in _COLUMNS:
                array = arrays[name] = np.asarray(value)
                if array.ndim != 1:
                    shape = f"batch.{name} has the shape {array.shape}, not one dimension"
                    raise refusal(_api.HALO_E_SHAPE, f"batch.{name}", shape)
                if (dtype := _COLUMNS[name][0]) is not None:
                    arrays[name] = _exact(name, array, dtype)
            elif name in _NUMBERS:
                setattr(pointer, name, float(value))
            else:
                raise TypeError(f"unknown column {name!r}; known: {', '.join(_KNOWN)}")
        self.dtype = _precision(arrays)
        self.rows, self.tokens = _lengths(arrays)
        self.keep = []
        pointer.rows = self.rows
        single = self.dtype is _SINGLE
        pointer.dtype = _api.HALO_F32 if single else _api.HALO_F64
        floats = "float[]" if single else "double[]"
        for name, array in arrays.items():
            dtype, kind, _ = _COLUMNS[name]
            if dtype is None:
                array, kind = np.ascontiguousarray(array, self.dtype), floats
            view = ffi.from_buffer(kind, array)
            self.keep.append(view)
            setattr(pointer, name, view)


def outputs(batch: Batch, result: Any, names: tuple[str, ...], **lengths: int) -> dict[str, np.ndarray]:
    """Arrays for what a halo_loss_result is to be filled with; the struct points to them.

    Keep the returned arrays until the call is over.
    """
    lengths = {"rows": batch.rows, "tokens": batch.tokens, **lengths}
    made = {}
    for name in names:
        dtype, kind, length = _RESULTS[name]
        if dtype is None:
            dtype, kind = batch.dtype, "float[]" if batch.dtype is _SINGLE else "double[]"
        array = made[name] = np.empty(lengths[length], dtype)
        # The view dies here, the array does not: numpy's memory stays where it is.
        setattr(result, name, ffi.from_buffer(kind, array, require_writable=True))
    return made


_NUMBERS = tuple(name for name in _api.Columns.__annotations__ if name not in _COLUMNS)
_KNOWN = (*_COLUMNS, *_NUMBERS)


def _precision(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """float32 if all columns of floats are, else float64."""
    single = False
    double = False
    for name, array in arrays.items():
        if _COLUMNS[name][0] is not None:
            continue
        dtype = array.dtype
        if dtype == _SINGLE:
            single = True
        elif dtype == _DOUBLE or dtype.kind in "iu" or dtype.newbyteorder("=") == _DOUBLE:
            double = True
        else:
            raise refusal(
                _api.HALO_E_DTYPE,
                f"batch.{name}",
                f"batch.{name} has the dtype {array.dtype}; float32 and float64 are read "
                "(a sum of log-probabilities needs more digits than 16 bits have)",
            )
    return _SINGLE if single and not double else _DOUBLE


def _exact(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Whole numbers as the column's dtype; a label may be a bool, True = desirable or chosen."""
    if array.dtype == dtype:
        return np.ascontiguousarray(array, dtype)
    if array.dtype == np.bool_:
        if name == "label":
            return np.where(array, np.int8(1), np.int8(-1))
        return np.ascontiguousarray(array.astype(dtype))
    if array.dtype.kind not in "iuf":
        message = f"batch.{name} has the dtype {array.dtype}; {dtype} is read"
        raise refusal(_api.HALO_E_DTYPE, f"batch.{name}", message)
    if np.can_cast(array.dtype, dtype, "safe"):
        return np.ascontiguousarray(array, dtype)
    with np.errstate(invalid="ignore"):
        whole = array.astype(dtype)
    # Compared in the array's own dtype and by sign, since a wrapped number may compare equal.
    wrong = (whole.astype(array.dtype) != array) | ((whole < 0) != (array < 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        message = f"row {row}: batch.{name} = {array[row]} is no {dtype}"
        raise refusal(_api.HALO_E_DTYPE, f"batch.{name}", message, row)
    return whole


def _lengths(arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Rows and tokens; the library cannot see how long an array is, so every length is compared here."""
    offsets = arrays.get("offsets")
    rows = tokens = None
    first = {"rows": "", "tokens": "batch.offsets"}
    if offsets is not None:
        if offsets.size == 0:
            message = "batch.offsets is empty; it has one more than there are rows"
            raise refusal(_api.HALO_E_SHAPE, "batch.offsets", message)
        rows, tokens = offsets.size - 1, int(offsets[-1])
        first["rows"] = "batch.offsets"
    for name, array in arrays.items():
        length = _COLUMNS[name][2]
        if length == "rows":
            if rows is None:
                rows, first["rows"] = array.size, f"batch.{name}"
            expected = rows
        elif length == "tokens" and tokens is not None:
            expected = tokens
        else:
            continue
        if array.size != expected:
            message = f"batch.{name} has {array.size} elements, but {first[length]} says {expected} {length}"
            raise refusal(_api.HALO_E_SHAPE, f"batch.{name}", message)
    return rows or 0, tokens or 0
