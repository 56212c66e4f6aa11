"""The training loop for a host that owns model, optimizer and collectives: it is told what to do, and says what came of it."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import _api
from ._library import blob, call, ffi, handle, struct

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .datasets import Dataset

__all__ = ["Host", "Trainer", "Work", "WorkKind"]


class WorkKind(IntEnum):
    """What is to be done."""

    FORWARD = _api.HALO_WORK_FORWARD
    REDUCE = _api.HALO_WORK_REDUCE
    BACKWARD = _api.HALO_WORK_BACKWARD
    OPTIMIZER_STEP = _api.HALO_WORK_OPTIMIZER_STEP
    CHECKPOINT = _api.HALO_WORK_CHECKPOINT
    DONE = _api.HALO_WORK_DONE
    SYNC_REFERENCE = _api.HALO_WORK_SYNC_REFERENCE


_ARRAYS = {"offsets": np.int64, "prompt_tokens": np.int32, "group": np.uint64, "tokens": np.int32, "values": np.float64}


class Work:
    """One thing to do. Row i is tokens[offsets[i] : offsets[i + 1]], its first prompt_tokens[i] the prompt; arrays are copies.

    kind: a WorkKind, or a number that this version does not know. step, micro_batch, forward_id, rows, grad_rows,
    value_count, learning_rate, mix: as halo_work in include/halo.h; reference, per_token, scores, collisions: its flags.
    """

    def __init__(self, work: Any) -> None:
        known = {kind.value for kind in WorkKind}
        self.kind: WorkKind | int = WorkKind(work.kind) if work.kind in known else work.kind
        self.id: int = work.id
        self.step: int = work.step
        self.forward_id: int = work.forward_id
        self.micro_batch: int = work.micro_batch
        self.rows: int = work.rows
        self.grad_rows: int = work.grad_rows
        self.value_count: int = work.value_count
        self.learning_rate: float = work.learning_rate
        self.mix: float = work.mix
        self.reference = bool(work.flags & _api.HALO_WORK_REFERENCE)
        self.per_token = bool(work.flags & _api.HALO_WORK_TOKENS)
        self.scores = bool(work.flags & _api.HALO_WORK_SCORES)
        self.collisions = bool(work.flags & _api.HALO_WORK_COLLISIONS)
        rows = work.rows if work.offsets else 0
        self.offsets = _copied(work, "offsets", rows + 1)
        self.prompt_tokens = _copied(work, "prompt_tokens", rows)
        self.group = _copied(work, "group", rows)
        self.tokens = _copied(work, "tokens", int(self.offsets[-1]) if rows else 0)
        self.values = _copied(work, "values", work.value_count)

    def __repr__(self) -> str:
        kind = self.kind.name if isinstance(self.kind, WorkKind) else self.kind
        return f"Work({kind}, step={self.step}, rows={self.rows})"


def _copied(work: Any, name: str, count: int) -> np.ndarray:
    """The library's memory holds until the answer only, Python's references may hold longer."""
    pointer = getattr(work, name)
    if not pointer or count == 0:
        return np.zeros(count, _ARRAYS[name])
    size = count * np.dtype(_ARRAYS[name]).itemsize
    return np.frombuffer(ffi.buffer(pointer, size), _ARRAYS[name]).copy()


class Host(Protocol):
    """What Trainer.run drives: the owner of the model."""

    def forward(self, work: Work) -> ArrayLike | tuple[ArrayLike, ArrayLike]:
        """(value_count) log-probabilities of the rows, or of their scored tokens; with work.collisions also those."""

    def backward(self, work: Work) -> None:
        """Adds to the step's gradient: work.values are d loss / d logp of the grad_rows of the forward work.forward_id."""

    def reduce(self, values: np.ndarray) -> ArrayLike:
        """The sums over the ranks, on every rank the same bits; asked for with several ranks only."""

    def optimizer_step(self, work: Work) -> float:
        """SUMs the gradients over the ranks, clips, steps with work.learning_rate, zeroes; the norm before clipping, or 0."""

    def checkpoint(self, work: Work) -> None:
        """Saves the model and Trainer.save()."""

    def sync_reference(self, work: Work) -> None:
        """reference = work.mix * policy + (1 - work.mix) * reference."""


class Trainer:
    """A run whose model is the host's. config has the keys of `halo train`'s files: loss, loss_parameters, max_steps, ..

    rank, world_size: those of data parallelism. Every rank makes the same calls in the same order, whatever fails.
    """

    def __init__(self, config: dict[str, Any] | None = None, *, rank: int = 0, world_size: int = 1) -> None:
        encoded = json.dumps(config or {}).encode()
        self._handle = handle("halo_trainer", "halo_trainer_new", encoded, rank, world_size)

    def attach(self, data: Dataset, role: str = "train") -> None:
        """Gives the run its data: on every rank all of it."""
        call("halo_trainer_attach", self._handle, role.encode(), data._handle)

    def next(self) -> Work:
        """What to do next; the same again until it is answered."""
        work = struct("halo_work")
        call("halo_trainer_next", self._handle, work)
        return Work(work)

    def submit(
        self,
        work: Work,
        values: ArrayLike | None = None,
        *,
        log_collisions: ArrayLike | None = None,
        grad_norm: float = 0.0,
        host_code: int = 0,
    ) -> None:
        """What came of a work; host_code other than 0: it could not be done.

        Raises halo.Error HALO_E_PEER, on every rank, if any failed: drop the gradients and go on, next offers the step again.
        """
        answer = struct("halo_answer")
        answer.work_id, answer.host_code, answer.grad_norm = work.id, host_code, grad_norm
        answer.dtype = _api.HALO_F64
        keep = []
        for name, given in (("values", values), ("log_collisions", log_collisions)):
            if given is not None:
                array = np.ascontiguousarray(given, np.float64).reshape(-1)
                if keep and array.size != len(keep[0]):
                    raise ValueError(f"log_collisions has {array.size} elements, values has {len(keep[0])}")
                view = ffi.from_buffer("double[]", array)
                keep.append(view)
                setattr(answer, name, view)
                answer.value_count = array.size
        call("halo_trainer_submit", self._handle, answer)

    def run(self, host: Host) -> dict[str, Any]:
        """Drives a host to the end of the run and gives the last metrics.

        An exception of the host is told to all ranks and raised here; the other ranks get halo.Error HALO_E_PEER.
        """
        while (work := self.next()).kind != WorkKind.DONE:
            try:
                answer = self._done(host, work)
            except BaseException:
                try:
                    self.submit(work, host_code=1)
                except Exception:
                    pass  # the host's own exception says more
                raise
            self.submit(work, **answer)
        return self.metrics()

    def _done(self, host: Host, work: Work) -> dict[str, Any]:
        if work.kind == WorkKind.FORWARD:
            values = host.forward(work)
            if work.collisions:
                values, collisions = values
                return {"values": values, "log_collisions": collisions}
            return {"values": values}
        if work.kind == WorkKind.REDUCE:
            return {"values": host.reduce(work.values)}
        if work.kind == WorkKind.OPTIMIZER_STEP:
            return {"grad_norm": host.optimizer_step(work) or 0.0}
        others = {
            WorkKind.BACKWARD: "backward",
            WorkKind.CHECKPOINT: "checkpoint",
            WorkKind.SYNC_REFERENCE: "sync_reference",
        }
        if work.kind not in others:
            raise NotImplementedError(f"the library asks for work of kind {work.kind}, which this version does not know")
        getattr(host, others[work.kind])(work)
        return {}

    def set(self, key: str, value: Any) -> None:
        """Changes a setting from the next step on, on every rank: "learning_rate", the peak of its schedule."""
        call("halo_trainer_set", self._handle, key.encode(), json.dumps(value).encode())

    def metrics(self) -> dict[str, Any]:
        """Those of the step completed last, by TRL's names, the same on every rank; and max_steps."""
        return json.loads(blob("halo_trainer_metrics", self._handle))

    def save(self) -> bytes:
        """Where the run stands, for load in a later process, on any rank."""
        return blob("halo_trainer_save", self._handle)

    def load(self, state: bytes) -> None:
        """Goes on where save left off, with the same data attached and the same config. On failure nothing has changed."""
        call("halo_trainer_load", self._handle, ffi.from_buffer(state), len(state))

    def __reduce__(self) -> Any:
        raise TypeError("a halo.Trainer is the state of a run and is not pickled or copied: keep save()'s bytes")
