"""The head of libhalo against torch: log_softmax, entropy and autograd, in every type, with soft cap, temperature and bias.

Needs torch, which the bindings' own tests do not; uses ctypes alone, so that nothing stands between torch and the C interface.

    cargo xtask clients C
    python bindings/python/tests/head_against_torch.py target/libhalo/lib/libhalo.so
"""

import ctypes as c
import itertools
import sys

import torch


class Tensor(c.Structure):
    """DLTensor of DLPack 1.x."""

    _fields_ = [("data", c.c_void_p), ("kind", c.c_int32), ("id", c.c_int32), ("ndim", c.c_int32),
                ("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16),
                ("shape", c.POINTER(c.c_int64)), ("strides", c.POINTER(c.c_int64)), ("offset", c.c_uint64)]


POINTER = c.POINTER(Tensor)


def struct(name, pointers, rest=()):
    fields = [("struct_size", c.c_uint32), ("flags", c.c_uint32)]
    return type(name, (c.Structure,), {"_fields_": fields + [(p, POINTER) for p in pointers] + list(rest)})


Head = struct("Head", ["hidden", "weight", "bias", "logits", "targets"],
              [("temperature", c.c_double), ("softcap", c.c_double), ("chunk", c.c_uint64)])
Stats = struct("Stats", ["logp", "lse", "entropy", "unit_d_hidden"])
Grads = struct("Grads", ["d_logp", "d_entropy", "d_hidden", "d_weight", "d_bias", "d_logits"])


class Error(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("code", c.c_int32), ("argument", c.c_int32), ("host_code", c.c_int32),
                ("example", c.c_int64), ("site", c.c_char * 64), ("message", c.c_char * 512)]


CODES = {torch.float32: (2, 32), torch.bfloat16: (4, 16), torch.float16: (2, 16), torch.int64: (0, 64), torch.int32: (0, 32)}
# Rounding of a result that is stored in the type, relative.
ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0 ** -8, torch.float16: 2.0 ** -11}


def view(x):
    """A borrowed view; torch's own strides are passed on."""
    numbers = c.c_int64 * max(x.dim(), 1)
    code, bits = CODES[x.dtype]
    return c.pointer(Tensor(x.data_ptr(), 1, 0, x.dim(), code, bits, 1, numbers(*x.shape), numbers(*x.stride()), 0))


def fill(kind, **tensors):
    values = {key: view(x) if torch.is_tensor(x) else x for key, x in tensors.items() if x is not None}
    return kind(struct_size=c.sizeof(kind), **values)


def call(function, *arguments):
    error = Error(struct_size=c.sizeof(Error))
    if function(*(c.byref(argument) for argument in arguments), None, c.byref(error)) != 0:
        raise RuntimeError(f"{error.site.decode()}: {error.message.decode()}")


def shaped(x, softcap, temperature):
    return (softcap * torch.tanh(x / softcap) if softcap else x) / temperature


def scores(z, targets):
    """log-probability and entropy of rows that are scored; 0 in the others."""
    logs = torch.log_softmax(z, -1)
    scored = (targets >= 0).to(z.dtype)
    logp = logs.gather(1, targets.clamp(min=0)[:, None])[:, 0]
    return logp * scored, -(logs.exp() * logs).sum(-1) * scored


def compare(worst, name, ours, theirs, dtype):
    off = (ours.double() - theirs.double()).abs().max().item() / max(theirs.double().abs().max().item(), 1e-3)
    worst[name] = max(worst.get(name, 0.0), off)
    # f32 sums of a few hundred products, then the rounding of the result.
    assert off <= 2e-5 + ROUNDING[dtype], f"{name}: {off:.1e} in {dtype}"


def check(library, worst, dtype, softcap, temperature, with_bias):
    n, h, v = 700, 96, 1500
    hidden = (torch.randn(n, h) * 1.5).to(dtype)
    weight = (torch.randn(v, h) * 0.4).to(dtype)
    bias = torch.randn(v).to(dtype) if with_bias else None
    targets = torch.randint(0, v, (n,))
    targets[::7] = -100
    d_logp, d_entropy = torch.randn(n), torch.randn(n)

    # Theirs in f64, from what the half widths hold.
    leaves = [x.double().requires_grad_() for x in (hidden, weight)]
    products = leaves[0] @ leaves[1].T
    if with_bias:
        leaves.append(bias.double().requires_grad_())
        products = products + leaves[2]
    products.retain_grad()
    logp, entropy = scores(shaped(products, softcap, temperature), targets)
    (logp * d_logp.double()).sum().add((entropy * d_entropy.double()).sum()).backward()

    column = lambda: torch.empty(n)
    stats = {"logp": column(), "lse": column(), "entropy": column()}
    unit = torch.empty(n, h)
    head = fill(Head, hidden=hidden, weight=weight, bias=bias, targets=targets, softcap=softcap, temperature=temperature)
    filled = fill(Stats, **stats, unit_d_hidden=unit)
    call(library.halo_head_forward, head, filled)
    grads = {"d_hidden": torch.empty_like(hidden), "d_weight": torch.empty(v, h)}
    if with_bias:
        grads["d_bias"] = torch.empty(v)
    incoming = fill(Grads, d_logp=d_logp, d_entropy=d_entropy, **grads)
    call(library.halo_head_backward, head, filled, incoming)
    compare(worst, "logp", stats["logp"], logp, torch.float32)
    compare(worst, "entropy", stats["entropy"], entropy, torch.float32)
    compare(worst, "d_hidden", grads["d_hidden"], leaves[0].grad, dtype)
    compare(worst, "d_weight", grads["d_weight"], leaves[1].grad, torch.float32)
    if with_bias:
        compare(worst, "d_bias", grads["d_bias"], leaves[2].grad, torch.float32)
    again, _ = scores(shaped(leaves[0] @ leaves[1].T + (leaves[2] if with_bias else 0.0), softcap, temperature), targets)
    theirs, = torch.autograd.grad(again.sum(), leaves[0])
    compare(worst, "unit_d_hidden", unit, theirs, torch.float32)

    # The same from logits, which become their own gradient.
    logits = products.detach().to(dtype)
    leaf = logits.double().requires_grad_()
    logp, entropy = scores(shaped(leaf, softcap, temperature), targets)
    (logp * d_logp.double()).sum().add((entropy * d_entropy.double()).sum()).backward()
    narrow = targets.int()
    head = fill(Head, logits=logits, targets=narrow, softcap=softcap, temperature=temperature)
    filled = fill(Stats, **stats)
    call(library.halo_head_forward, head, filled)
    call(library.halo_head_backward, head, filled, fill(Grads, d_logp=d_logp, d_entropy=d_entropy, d_logits=logits))
    compare(worst, "logp of logits", stats["logp"], logp, torch.float32)
    compare(worst, "d_logits", logits, leaf.grad, dtype)


def main():
    library = c.CDLL(sys.argv[1])
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        worst = {}
        for softcap, temperature, with_bias in itertools.product((0.0, 5.0), (1.0, 0.7), (False, True)):
            check(library, worst, dtype, softcap, temperature, with_bias)
        print(dtype, ", ".join(f"{name} {off:.1e}" for name, off in worst.items()))


if __name__ == "__main__":
    main()
