"""The model and the data of the comparison: random weights, random tokens, log-normal lengths, fixed seeds."""

import json
import math
import random

VOCAB = 32000
EOS = 2
SPECIAL = 3

# name: (mean prompt, mean completion, batch size)
SHAPES = {"350/300": (350, 300, 4), "150/60": (150, 60, 8)}
SIGMA = 0.5  # of the logarithm of a length
CAP = 3  # times the mean: the longest prompt or completion


def make_model(folder):
    """34.0M parameters: 6 layers, hidden 384, 6 heads, 2 key/value heads, MLP 1024, untied head over 32 000 tokens."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig
    from transformers.utils import logging

    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=EOS,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def make_tokenizer():
    """One word per id, so that TRL's own pipeline tokenises `as_text(ids)` into exactly `ids`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word(i): i for i in range(VOCAB)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<pad>"
    )


def word(i):
    return ["<pad>", "<bos>", "<eos>"][i] if i < SPECIAL else f"t{i}"


def as_text(ids):
    return "".join(f" {word(i)}" for i in ids)


def make_rows(shape, steps, seed):
    """`steps` batches of rows {prompt_ids, completion_ids, label}; the end token closes each completion."""
    prompt_mean, completion_mean, batch = SHAPES[shape]
    generator = random.Random(f"{shape} {seed}")
    return [
        make_row(generator, draw_length(generator, prompt_mean), draw_length(generator, completion_mean))
        for _ in range(steps * batch)
    ]


def draw_length(generator, mean):
    """Log-normal with this mean."""
    drawn = generator.lognormvariate(math.log(mean) - SIGMA**2 / 2, SIGMA)
    return max(2, min(round(drawn), CAP * mean))


def draw_ids(generator, count, vocab=VOCAB):
    return [generator.randrange(SPECIAL, vocab) for _ in range(count)]


def make_row(generator, prompt, completion):
    return dict(
        prompt_ids=draw_ids(generator, prompt),
        completion_ids=draw_ids(generator, completion - 1) + [EOS],
        label=generator.random() < 0.5,
    )


def warmup_rows(rows, count, seed):
    """`count` rows with fresh tokens and the lengths of the rows in the middle of `rows`.

    Middling ones, so that warm-up never decides the peak of memory: the timed rows do.
    """
    generator = random.Random(f"warm-up {seed}")
    ranked = by_length(rows)
    start = max(0, (len(ranked) - count) // 2)
    middle = [ranked[start + i % (len(ranked) - start)] for i in range(count)]
    return [make_row(generator, len(row["prompt_ids"]), len(row["completion_ids"])) for row in middle]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_length(rows):
    return sorted(rows, key=lambda row: len(row["prompt_ids"]) + len(row["completion_ids"]))
