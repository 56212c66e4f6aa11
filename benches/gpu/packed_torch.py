"""The strongest peer we could write in plain torch: packed, prefix-shared (FlexAttention), compiled, head on completion rows only
and in chunks, fused AdamW, bf16. A job as JSON on the command line, one line of JSON as the answer. With packs.py it is the whole
peer; model and adapter are those of transformers and peft, whose linear layers it calls.
"""

import json
import pathlib
import sys
import time

import common  # finds benches/peers
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import AutoModelForCausalLM

import packs
from inputs import read_rows

CHUNK = 4096  # rows of the head at a time: 4096 × 152k logits in bf16 and f32 are 3.7 GB


def rms_norm(x, norm):
    return F.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)


def rotate(x, cos, sin):
    """`x`: (heads, rows, head_dim)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def qkv(layer, x, cos, sin):
    """→ queries (heads, rows, head_dim), keys and values (kv_heads, rows, head_dim)."""
    attention = layer.self_attn
    normed = rms_norm(x, layer.input_layernorm)

    def split(projection):
        return projection(normed).view(x.shape[0], -1, attention.head_dim).transpose(0, 1)

    return rotate(split(attention.q_proj), cos, sin), rotate(split(attention.k_proj), cos, sin), split(attention.v_proj)


def attend(q, k, v, mask):
    if isinstance(mask, torch.Tensor):  # CPU: FlexAttention has no backward pass there
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
    return flex_attention(q[None], k[None], v[None], block_mask=mask, enable_gqa=True)[0]


def finish(layer, x, attended):
    x = x + layer.self_attn.o_proj(attended.transpose(0, 1).reshape(x.shape[0], -1))
    normed = rms_norm(x, layer.post_attention_layernorm)
    return x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed))


def block(layer, x, cos, sin, mask):
    """→ the block's output, and the keys and values that mismatched completions read."""
    q, k, v = qkv(layer, x, cos, sin)
    return finish(layer, x, attend(q, k, v, mask)), k, v


def free_block(layer, x, cos, sin, mask, prompt_k, prompt_v):
    q, k, v = qkv(layer, x, cos, sin)
    attended = attend(q, torch.cat((prompt_k, k), 1), torch.cat((prompt_v, v), 1), mask)
    return finish(layer, x, attended)


def make_mask(pack, first, last, keys, device):
    """Rows `first..last` over rows `0..keys`: the own segment up to oneself, the segment before it whole."""
    segment, parent = pack.segment, pack.parent

    def sees(_, __, q, k):
        q = q + first
        return ((segment[q] == segment[k]) & (k <= q)) | (parent[q] == segment[k])

    if device == "cpu":
        return sees(0, 0, torch.arange(last - first)[:, None], torch.arange(keys)[None])
    return build_mask(sees, None, None, last - first, keys, device=device)


class LogProbabilities(torch.autograd.Function):
    """log p(target) per row of the head, never more than CHUNK rows of logits; backward computes them again."""

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        chunks = [chunk_forward(h, weight, t) for h, t in zip(hidden.split(CHUNK), targets.split(CHUNK))]
        logps, lse = (torch.cat(parts) for parts in zip(*chunks))
        ctx.save_for_backward(hidden, weight, targets, lse)
        return logps

    @staticmethod
    def backward(ctx, dlogps):
        hidden, weight, targets, lse = ctx.saved_tensors
        dhidden = torch.empty_like(hidden)
        trained = ctx.needs_input_grad[1]
        dweight = torch.zeros_like(weight, dtype=torch.float32) if trained else None
        for i in range(0, len(hidden), CHUNK):
            piece = slice(i, i + CHUNK)
            dlogits = chunk_backward(hidden[piece], weight, targets[piece], lse[piece], dlogps[piece])
            dhidden[piece] = dlogits @ weight
            if trained:
                dweight += dlogits.T @ hidden[piece]
        return dhidden, dweight.to(weight.dtype) if trained else None, None


def chunk_forward(hidden, weight, targets):
    logits = (hidden @ weight.T).float()
    lse = logits.logsumexp(-1)
    return logits.gather(1, targets[:, None])[:, 0] - lse, lse


def chunk_backward(hidden, weight, targets, lse, dlogps):
    """dL/dlogits = dlogp · (onehot − softmax), without a buffer for the one-hot."""
    logits = (hidden @ weight.T).float()
    hit = torch.arange(logits.shape[1], device=logits.device)[None] == targets[:, None]
    return ((hit.float() - (logits - lse[:, None]).exp()) * dlogps[:, None]).to(hidden.dtype)


def sequence_logps(model, pack, device):
    """→ (judged,) with gradient, (mismatched,) without: the sums of each sequence's log-probabilities."""
    decoder = model.get_base_model().model if hasattr(model, "get_base_model") else model.model
    free = len(pack.tokens) > pack.grad_rows
    x = decoder.embed_tokens(pack.tokens[: pack.grad_rows])
    cos, sin = (t[0] for t in decoder.rotary_emb(x, pack.positions[None]))
    rows, total = pack.grad_rows, len(pack.tokens)
    mask = make_mask(pack, 0, rows, rows, device)
    if free:
        y = decoder.embed_tokens(pack.tokens[rows:]).detach()
        free_mask = make_mask(pack, rows, total, total, device)
    for layer in decoder.layers:
        x, k, v = block(layer, x, cos[:rows], sin[:rows], mask)
        if free:
            with torch.no_grad():
                y = free_block(layer, y, cos[rows:], sin[rows:], free_mask, k.detach(), v.detach())
    weight = model.get_output_embeddings().weight
    n = pack.grad_scores
    judged = score(rms_norm(x[pack.score_rows[:n]], decoder.norm), weight, pack.targets[:n], pack.owner[:n], pack.judged)
    if not free:
        return judged, None
    with torch.no_grad():
        hidden = torch.cat((x.detach(), y))[pack.score_rows[n:]]
        owner = pack.owner[n:] - pack.judged
        return judged, score(rms_norm(hidden, decoder.norm), weight, pack.targets[n:], owner, pack.judged)


def score(hidden, weight, targets, owner, sequences):
    logps = LogProbabilities.apply(hidden, weight, targets)
    return torch.zeros(sequences, dtype=torch.float32, device=logps.device).index_add(0, owner, logps)


def batch_loss(job, rows, policy, reference):
    """→ loss, z₀. `policy`, `reference`: (judged, mismatched) of `sequence_logps`."""
    rewards = policy[0] - reference[0]
    if job["loss"] == "dpo":
        return -F.logsigmoid(job["beta"] * (rewards[0::2] - rewards[1::2])).mean(), None
    z0 = (policy[1] - reference[1]).mean().clamp(min=0)
    sign = torch.tensor([1.0 if row["label"] else -1.0 for row in rows], device=rewards.device)
    return (1 - torch.sigmoid(job["beta"] * sign * (rewards - z0))).mean(), z0


def load(job, dtype):
    """→ policy, and the reference: a model for full tuning, the policy itself as it starts for an adapter."""
    if job["tuning"] == "full":
        policy, reference = (
            AutoModelForCausalLM.from_pretrained(job[key], dtype=dtype).to(job["device"]) for key in ["model", "reference"]
        )
        return policy, reference
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(job["reference"], dtype=dtype)
    policy = PeftModel.from_pretrained(base, job["model"], is_trainable=True, autocast_adapter_dtype=False)
    policy = policy.to(job["device"])
    return policy, policy


def main(job):
    global block, free_block, chunk_forward, chunk_backward, build_mask
    device = job["device"]
    gpu = device != "cpu"
    if gpu:
        torch._dynamo.config.cache_size_limit = 64
        block, free_block, chunk_forward, chunk_backward = (
            torch.compile(f, dynamic=True) for f in [block, free_block, chunk_forward, chunk_backward]
        )
        build_mask = torch.compile(create_block_mask, dynamic=True)
    rows = read_rows(pathlib.Path(job["data"]))[: job["steps"] * job["accumulation"] * job["batch"]]
    batches = [rows[i : i + job["batch"]] for i in range(0, len(rows), job["batch"])]
    policy, reference = load(job, torch.bfloat16 if gpu else torch.float32)
    multiple = packs.MULTIPLE if gpu else 8

    def pack(batch):
        return packs.pack_of(batch, job["loss"], device, multiple)

    start = time.perf_counter()
    with torch.no_grad():
        cached = [sequence_logps(reference, pack(batch), device) for batch in batches]
    synchronize(gpu)
    reference_seconds = time.perf_counter() - start
    del reference
    trained = [p for p in policy.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() == 1]
    groups = [dict(params=matrices, weight_decay=job["weight_decay"]), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=job["learning_rate"], fused=gpu)
    seconds, losses, z0s = [], [], []
    for step in range(job["steps"]):
        start = time.perf_counter()
        sums = []
        for i in range(step * job["accumulation"], (step + 1) * job["accumulation"]):
            loss, z0 = batch_loss(job, batches[i], sequence_logps(policy, pack(batches[i]), device), cached[i])
            (loss / job["accumulation"]).backward()
            sums.append((loss.detach(), z0))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(sum(loss.item() for loss, _ in sums) / len(sums))
        z0s.append(None if sums[0][1] is None else sum(z0.item() for _, z0 in sums) / len(sums))
        synchronize(gpu)
        seconds.append(time.perf_counter() - start)
    return dict(
        step_seconds=seconds,
        reference_seconds=reference_seconds,
        loss=losses,
        kl=z0s,
        allocator_peak=torch.cuda.max_memory_allocated() if gpu else None,
    )


def synchronize(gpu):
    if gpu:
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
