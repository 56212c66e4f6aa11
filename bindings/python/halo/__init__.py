"""Alignment losses and their gradients, from libhalo.

    import halo

    loss = halo.Loss("kto", beta=0.1)
    out = loss.evaluate(logp=logp, ref_logp=ref_logp, label=label, z0=0.3)
    out.loss, out.d_logp, out.rewards, out.zones, out.metrics

Arrays are numpy's; ``halo.torch`` (imported when first used) has the same losses for autograd.
Log-probabilities, rewards and reference points are in nats and are sums over completion tokens.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from ._api import HALO_ROLE_MISMATCH as MISMATCH
from ._api import HALO_ROLE_SCORED as SCORED
from ._api import HALO_ZONE_ACTIVE as ACTIVE
from ._api import HALO_ZONE_GIVEN_UP as GIVEN_UP
from ._api import HALO_ZONE_LEARNT as LEARNT
from ._api import Columns
from ._library import lib as _lib
from ._library import text as _text
from .datasets import Dataset
from .errors import Error
from .losses import Counts, Loss, Result, registry
from .pairing import draw_pairing
from .refpoints import Point, RefPoint
from .runs import Cancel
from .sessions import Session
from .trainers import Host, Trainer, Work, WorkKind

__all__ = [
    "ACTIVE",
    "GIVEN_UP",
    "LEARNT",
    "MISMATCH",
    "SCORED",
    "Cancel",
    "Columns",
    "Counts",
    "Dataset",
    "Error",
    "Host",
    "Loss",
    "Point",
    "RefPoint",
    "Result",
    "Session",
    "Trainer",
    "Work",
    "WorkKind",
    "build",
    "draw_pairing",
    "registry",
]

__version__: str = _text(_lib.halo_version_text())


def build() -> dict[str, Any]:
    """The library's version, interface and features."""
    return json.loads(_text(_lib.halo_build_describe()))


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so only those who ask for it wait.
    if name == "torch":
        return importlib.import_module(".torch", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
