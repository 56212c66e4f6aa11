"""Log-probabilities of tokens without a buffer of tokens by vocabulary: the library's head as an operator of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._library import call, ffi, struct
from .ops import once

#: DLPack's (class, bits) of what the head reads.
_DTYPES = {
    torch.float32: (2, 32),
    torch.bfloat16: (4, 16),
    torch.float16: (2, 16),
    torch.int32: (0, 32),
    torch.int64: (0, 64),
}


def head_logps(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
) -> Tensor:
    """ln p of each target, float32 (N), nats: hidden (N, H), weight (V, H), targets (N) int32 or int64, bias (V).

    z = softcap * tanh(x / softcap) / temperature of x = hidden @ weight.T + bias; logp = z[target] - logsumexp(z). Rows go in
    chunks: neither forward nor backward holds (N, V). A negative target skips its row, which gives 0. Floats are float32, bfloat16
    or float16, on the CPU; all arithmetic is float32. Differentiable in hidden, weight and bias.

    Raises halo.Error, its example naming the row of a target outside the vocabulary, or of a NaN.
    """
    return _forward(hidden, weight, targets, bias, temperature, softcap)[0]


class _Views:
    """DLTensors of torch's tensors, kept as long as the call."""

    def __init__(self) -> None:
        self._keep: list[Any] = []

    def of(self, tensor: Tensor | None) -> Any:
        if tensor is None:
            return ffi.NULL
        if tensor.dtype not in _DTYPES:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
            raise TypeError(f"a tensor has the dtype {tensor.dtype}; the head reads {known}")
        tensor = tensor.detach().contiguous()
        view = ffi.new("DLTensor *")
        shape = ffi.new("int64_t[]", list(tensor.shape))
        view.data = ffi.cast("void *", tensor.data_ptr())
        # DLPack's kinds: 1 is the CPU, 2 CUDA.
        view.device.device_type = {"cpu": 1, "cuda": 2}.get(tensor.device.type, 0)
        view.device.device_id = tensor.device.index or 0
        view.ndim, view.shape = tensor.ndim, shape
        view.dtype.code, view.dtype.bits = _DTYPES[tensor.dtype]
        view.dtype.lanes = 1
        self._keep += [tensor, shape, view]
        return view

    def head(self, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, *z: float) -> Any:
        head = struct("halo_head")
        head.hidden, head.weight = self.of(hidden), self.of(weight)
        head.targets, head.bias = self.of(targets), self.of(bias)
        head.temperature, head.softcap = z
        return head


_HEAD = "Tensor hidden, Tensor weight, Tensor targets, Tensor? bias, float temperature, float softcap"


@torch.library.custom_op("halo::head_logps", mutates_args=(), schema=f"({_HEAD}) -> (Tensor, Tensor)")
def _forward(hidden, weight, targets, bias, temperature, softcap):
    """(ln p (N), logsumexp (N))"""
    views, stats = _Views(), struct("halo_head_stats")
    logp, lse = (hidden.new_empty(hidden.shape[0], dtype=torch.float32) for _ in range(2))
    stats.logp, stats.lse = views.of(logp), views.of(lse)
    head = views.head(hidden, weight, targets, bias, temperature, softcap)
    call("halo_head_forward", head, stats, ffi.NULL)
    return logp, lse


@_forward.register_fake
def _(hidden, weight, targets, bias, temperature, softcap):
    rows = hidden.shape[0]
    return hidden.new_empty(rows, dtype=torch.float32), hidden.new_empty(rows, dtype=torch.float32)


_GRADS = f"({_HEAD}, Tensor lse, Tensor d_logp, bool[] wanted) -> (Tensor, Tensor, Tensor)"


@torch.library.custom_op("halo::head_gradients", mutates_args=(), schema=_GRADS)
def _gradients(hidden, weight, targets, bias, temperature, softcap, lse, d_logp, wanted):
    """Gradients of hidden, weight and bias, of their types; empty where not wanted."""
    views, stats, grads = _Views(), struct("halo_head_stats"), struct("halo_head_grads")
    stats.lse, grads.d_logp = views.of(lse), views.of(d_logp.float())
    made = _empty(hidden, weight, bias, wanted)
    for name, gradient, asked in zip(("d_hidden", "d_weight", "d_bias"), made, wanted):
        if asked:
            setattr(grads, name, views.of(gradient))
    head = views.head(hidden, weight, targets, bias, temperature, softcap)
    call("halo_head_backward", head, stats, grads, ffi.NULL)
    return made


@_gradients.register_fake
def _(hidden, weight, targets, bias, temperature, softcap, lse, d_logp, wanted):
    return _empty(hidden, weight, bias, wanted)


def _empty(hidden, weight, bias, wanted):
    inputs = (hidden, weight, bias)
    return tuple(
        value.new_empty(value.shape if asked else 0) if value is not None else hidden.new_empty(0)
        for value, asked in zip(inputs, wanted)
    )


def _keep(ctx, inputs, output):
    hidden, weight, targets, bias, ctx.temperature, ctx.softcap = inputs
    ctx.save_for_backward(hidden, weight, targets, bias, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, d_logp, _):
    hidden, weight, targets, bias, lse = ctx.saved_tensors
    needs = ctx.needs_input_grad
    wanted = [needs[0], needs[1], bias is not None and needs[3]]
    with torch.no_grad():
        z = (ctx.temperature, ctx.softcap)
        made = _gradients(hidden, weight, targets, bias, *z, lse, d_logp, wanted)
    d_hidden, d_weight, d_bias = (once(value) if asked else None for value, asked in zip(made, wanted))
    return d_hidden, d_weight, None, d_bias, None, None


_forward.register_autograd(_backward, setup_context=_keep)
