"""Records: given as tokens, as text or as lines of JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _api
from ._library import blob, call, ffi, handle, lib, struct

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Dataset"]


class Dataset:
    """Records in their order. What it is attached to shares it, and from then on it does not change.

    Lines of JSON, load and diagnose need a library with the feature "session": see halo.build().
    """

    def __init__(self) -> None:
        self._handle = handle("halo_dataset", "halo_dataset_new")

    def add(
        self,
        *,
        prompt: str = "",
        completion: str = "",
        tokens: ArrayLike | None = None,
        prompt_tokens: int = 0,
        label: int | bool = 0,
        group: int = 0,
        score: float | None = None,
        weight: float = 0.0,
        beta_scale: float = 0.0,
        old_logps: ArrayLike | None = None,
        id: str = "",
    ) -> None:
        """Adds one completion of one prompt; a pair is two records of one group.

        prompt, completion: text, for a Session, which has a tokenizer; or tokens: int32, the prompt's first `prompt_tokens`, then
        the completion's with its end-of-sequence token.
        label: +1 or True desirable or chosen, -1 or False undesirable or rejected, 0 not judged.
        old_logps: those of the scored tokens when the completion was sampled, nats. weight, beta_scale: 0 = 1.
        """
        record = struct("halo_record")
        keep = []
        for name, text in (("id", id), ("prompt", prompt), ("completion", completion)):
            data = text.encode()
            view = ffi.from_buffer("char[]", data)
            keep.append(view)
            place = getattr(record, name)
            place.data, place.len = view, len(data)
        if tokens is not None:
            view = ffi.from_buffer("int32_t[]", np.ascontiguousarray(tokens, np.int32))
            keep.append(view)
            record.tokens, record.token_count = view, len(view)
            record.prompt_tokens = prompt_tokens
        if old_logps is not None:
            view = ffi.from_buffer("double[]", np.ascontiguousarray(old_logps, np.float64))
            keep.append(view)
            record.old_logps, record.old_logp_count = view, len(view)
        if score is not None:
            record.score, record.flags = score, _api.HALO_RECORD_SCORE
        record.label = (1 if label else -1) if isinstance(label, (bool, np.bool_)) else label
        record.group, record.weight, record.beta_scale = group, weight, beta_scale
        call("halo_dataset_add", self._handle, record)

    def add_json(self, line: str | dict[str, Any]) -> None:
        """Adds one line of JSON, or a dict, in any shape that a JSONL file may have."""
        data = (line if isinstance(line, str) else json.dumps(line)).encode()
        call("halo_dataset_add_json", self._handle, ffi.from_buffer("char[]", data), len(data))

    def load(self, path: str | os.PathLike[str], *, limit: int | None = None) -> None:
        """Adds the lines of a JSONL file, plain or gzip. On failure nothing is added; Error.example is the line, from 0."""
        options = {} if limit is None else {"limit": limit}
        call("halo_dataset_load", self._handle, os.fsencode(path), json.dumps(options).encode())

    def diagnose(self, **known: Any) -> dict[str, Any]:
        """What the data is, its contradictions, and which losses fit it: what `halo advise` says.

        known: weak, noise, fine_comparisons, score_threshold.
        """
        return json.loads(blob("halo_dataset_diagnose", self._handle, json.dumps(known).encode()))

    def __len__(self) -> int:
        return lib.halo_dataset_count(self._handle)

    def __reduce__(self) -> Any:
        raise TypeError("a halo.Dataset is not pickled or copied: build it anew from its records")
