"""A model that the engine owns: training, evaluation, scores and text, without torch."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from . import _api
from ._library import blob, call, ffi, handle
from .runs import Cancel, Progress, Watch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .datasets import Dataset

__all__ = ["Session"]


class Session:
    """A loaded model folder. config has the keys of `halo train`'s configuration; "model" must be there.

        session = halo.Session({"model": "folder", "loss": "kto", "max_steps": 100})
        session.attach(data)
        session.train(progress=lambda phase, done, total: print(phase, done, total))

    One thread at a time. Needs a library with the feature "session": see halo.build(). Ctrl-C stops a long call between
    micro-batches or tokens; train goes on where it was when it is called again.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._handle = handle("halo_session", "halo_session_new", json.dumps(config).encode())

    def attach(self, data: Dataset, role: str = "train") -> None:
        """Gives the session data, for "train" or "eval". On failure Error.example is the record at fault."""
        call("halo_session_attach", self._handle, role.encode(), data._handle)

    def train(
        self, max_steps: int = 0, *, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> dict[str, Any]:
        """Trains to the configured end, or max_steps further, and gives the metrics."""
        watch = Watch(progress, None, cancel, max_steps)
        watch.call("halo_session_train", self._handle, watch.pointer)
        return self.metrics()

    def evaluate(self, *, progress: Progress | None = None, cancel: Cancel | None = None) -> dict[str, Any]:
        """Measures the loss on all "eval" data and gives the metrics, those with "eval_" before them."""
        watch = Watch(progress, None, cancel)
        watch.call("halo_session_evaluate", self._handle, watch.pointer)
        return self.metrics()

    def set(self, key: str, value: Any) -> None:
        """Changes a setting from the next step on: "learning_rate", the peak that the schedule scales."""
        call("halo_session_set", self._handle, key.encode(), json.dumps(value).encode())

    def metrics(self) -> dict[str, Any]:
        """The numbers of the last step and of the last evaluation; empty before the first."""
        return json.loads(blob("halo_session_metrics", self._handle))

    def describe(self) -> dict[str, Any]:
        """The model, the loss, the effective configuration, steps, what was read of the data, the trained tensors."""
        return json.loads(blob("halo_session_describe", self._handle))

    def tokenize(self, text: str, *, continuation: bool = False) -> np.ndarray:
        """int32 tokens of a text; continuation: it goes on from another, so without a beginning-of-sequence token."""
        data = text.encode()
        flags = _api.HALO_TOKENIZE_CONTINUATION if continuation else 0
        view = ffi.from_buffer("char[]", data)
        return np.frombuffer(blob("halo_session_tokenize", self._handle, view, len(data), flags), np.int32)

    def score(
        self,
        prompts: Sequence[ArrayLike],
        completions: Sequence[ArrayLike],
        *,
        reference: bool = False,
        per_token: bool = False,
    ) -> np.ndarray:
        """float64 ln p(completion | prompt) in nats: (R), or with per_token those of all completion tokens, row after row.

        prompts, completions: R token sequences each. reference: ask the reference model.
        """
        if len(prompts) != len(completions):
            raise ValueError(f"there are {len(prompts)} prompts and {len(completions)} completions")
        pieces = [np.asarray(piece, np.int32) for pair in zip(prompts, completions) for piece in pair]
        tokens = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
        sizes = np.array([piece.size for piece in pieces], np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)[1::2]]).astype(np.int64)
        lengths = sizes[0::2].astype(np.int32)
        out = np.empty(int(sizes[1::2].sum()) if per_token else lengths.size)
        flags = (_api.HALO_SCORE_REFERENCE if reference else 0) | (_api.HALO_SCORE_TOKENS if per_token else 0)
        call(
            "halo_session_score",
            self._handle,
            lengths.size,
            ffi.from_buffer("int64_t[]", offsets),
            ffi.from_buffer("int32_t[]", lengths),
            ffi.from_buffer("int32_t[]", tokens),
            flags,
            ffi.from_buffer("double[]", out, require_writable=True),
            out.size,
        )
        return out

    def generate(
        self,
        prompt: str,
        *,
        stream: Callable[[str], Any] | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> str:
        """Writes on from a prompt. stream gets the text as it comes.

        options: max_new_tokens (128), temperature (1; 0 = the most likely token), top_k (0 = all), top_p (1), seed (0).
        """
        data, watch = prompt.encode(), Watch(progress, stream, cancel)
        view = ffi.from_buffer("char[]", data)
        encoded = json.dumps(options).encode()
        text = watch.run(blob, "halo_session_generate", self._handle, view, len(data), encoded, watch.pointer)
        return text.decode()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a checkpoint: everything that is needed to go on, bit for bit."""
        call("halo_session_save", self._handle, os.fsencode(folder))

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Goes to where a checkpoint stands. On failure nothing has changed."""
        call("halo_session_load", self._handle, os.fsencode(folder))

    def export(self, folder: str | os.PathLike[str], format: str = "hf") -> None:
        """Writes the model for others: "hf", the whole model as transformers loads it, or "peft", the adapter alone."""
        call("halo_session_export", self._handle, os.fsencode(folder), format.encode())

    def __reduce__(self) -> Any:
        raise TypeError("a halo.Session owns a model and is not pickled or copied: save() writes a checkpoint")
