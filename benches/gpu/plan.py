"""What is measured, in order of worth, and how long each may take."""

import dataclasses

# name: arguments of the HF configuration; the shapes of Qwen2.5-0.5B and Llama-3.2-1B
MODELS = {
    "0.5b": dict(
        kind="qwen2", hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        intermediate_size=4864, vocab_size=151936,
    ),
    "1b": dict(
        kind="llama", hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
        intermediate_size=8192, vocab_size=128256,
    ),
    "tiny": dict(
        kind="llama", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=128, vocab_size=512,
    ),
    "tiny-bias": dict(
        kind="qwen2", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=128, vocab_size=512,
    ),
}  # fmt: skip

# name: (mean prompt, mean completion, judged completions per optimiser step): 20 000 to 40 000 tokens a step, since the
# optimiser's bytes must not decide
SHAPES = {
    "350/300": (350, 300, 32),
    "150/60": (150, 60, 128),
    "2000/200": (2000, 200, 16),
    "20/12": (20, 12, 16),
}

LORA_RANK = 16
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01
BETA = 0.1

# There and back, so that a drift of the machine's speed falls on all alike. The default peer, the slowest, stands once at the turn.
CONTENDERS = ["halo", "trl-tuned", "packed-torch", "trl-default", "packed-torch", "trl-tuned", "halo"]


@dataclasses.dataclass(frozen=True)
class Measurement:
    loss: str  # kto or dpo
    tuning: str  # full or lora
    model: str
    shape: str
    siblings: int = 1  # judged completions per prompt; kto only, a pair of dpo always shares its prompt
    seconds: int = 240  # what it must be given to be begun
    warmup: int = 3
    steps: int = 6

    @property
    def name(self):
        return "-".join([self.loss, self.tuning, self.model, self.shape.replace("/", "x")]) + (
            f"-g{self.siblings}" if self.siblings > 1 else ""
        )

    @property
    def units(self):
        """Lines of data per optimiser step: pairs for dpo."""
        completions = SHAPES[self.shape][2]
        return completions // 2 if self.loss == "dpo" else completions


PLAN = [
    Measurement("kto", "full", "1b", "350/300", seconds=240),
    Measurement("dpo", "full", "1b", "350/300", seconds=210),
    Measurement("kto", "full", "1b", "2000/200", siblings=2, seconds=300),
    Measurement("kto", "lora", "1b", "350/300", seconds=210),
    Measurement("kto", "full", "0.5b", "350/300", seconds=180),
    Measurement("dpo", "lora", "1b", "350/300", seconds=180),
    Measurement("kto", "full", "0.5b", "150/60", seconds=180),
    Measurement("dpo", "full", "0.5b", "350/300", seconds=180),
    Measurement("dpo", "lora", "0.5b", "150/60", seconds=150),
    Measurement("kto", "lora", "0.5b", "2000/200", siblings=2, seconds=210),
]

TINY = [
    Measurement("kto", "full", "tiny", "20/12", warmup=1, steps=5),
    Measurement("kto", "full", "tiny", "20/12", siblings=2, warmup=1, steps=5),
    Measurement("dpo", "full", "tiny-bias", "20/12", warmup=1, steps=5),
    Measurement("kto", "lora", "tiny-bias", "20/12", warmup=1, steps=5),
    Measurement("dpo", "lora", "tiny", "20/12", warmup=1, steps=5),
]


def chosen(tiny, only):
    """The plan, or those of it whose name contains one of the words of `only`."""
    plan = TINY if tiny else PLAN
    return [m for m in plan if not only or any(word in m.name for word in only)]


def parameters(model):
    shape = MODELS[model]
    return blocks(shape) + shape["hidden_size"] * shape["vocab_size"]


def blocks(shape):
    """N_b: the weights of all blocks that are in a matrix product."""
    d, heads = shape["hidden_size"], shape["num_attention_heads"]
    narrow = d // heads * shape["num_key_value_heads"]
    return shape["num_hidden_layers"] * (2 * d * d + 2 * d * narrow + 3 * d * shape["intermediate_size"])


def ideal_flops(measurement, batches, reference):
    """F*: the least arithmetic that a step needs, with prompts shared in a batch, no padding, no recomputation, and the last
    block only where something is predicted. `reference`: 1 if the reference is computed in the step, 0 if it was cached.

    A forward pass takes 2 operations per weight and row; attention 4·d per layer and pair of positions, 2.5-fold backward.
    """
    shape = MODELS[measurement.model]
    layers, d, f = shape["num_hidden_layers"], shape["hidden_size"], shape["intermediate_size"]
    weight_gradient, head_gradient = (2, 2) if measurement.tuning == "full" else (1, 1)
    total = 0
    for batch in batches:
        prompts = {tuple(row["prompt_ids"]) for row in batch}
        p = sum(map(len, prompts))
        c = k = attend = attend_k = 0
        attend += sum(len(prompt) ** 2 / 2 for prompt in prompts)
        for i, row in enumerate(batch):
            prompt = len(row["prompt_ids"])
            for ids in completions(row):
                c += len(ids)
                attend += prompt * len(ids) + len(ids) ** 2 / 2
            if measurement.loss == "kto":
                other = len(batch[i - 1]["completion_ids"])
                k += other
                attend_k += prompt * other + other**2 / 2
        total += 2 * blocks(shape) * ((p + c + k) * (1 + reference) + weight_gradient * (p + c))
        total += 4 * layers * d * ((attend + attend_k) * (1 + reference) + 2.5 * attend)
        total += 2 * d * shape["vocab_size"] * (c * (1 + reference + head_gradient) + k * (1 + reference))
        total -= 2 * (2 * d * d + 3 * d * f) * p * (1 + reference + weight_gradient)
    return total


def completions(row):
    return [row["completion_ids"]] if "completion_ids" in row else [row["chosen_ids"], row["rejected_ids"]]
