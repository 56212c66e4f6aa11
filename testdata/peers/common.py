"""What the fixture scripts share: seeds, tiny checkpoints with interesting weights, the two styles of config.json."""

import json
import pathlib

import torch

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
VOCAB = 96
SPECIAL = 3  # ids 0..3 are padding, beginning and end; random tokens start here

# One thread and deterministic kernels: the fixtures are the same bytes on every run of one torch build.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def randomize(model, seed, scale=0.2):
    """Fills every parameter: matrices N(0, scale), norms 1 + N(0, 0.3), biases N(0, 0.3).

    The defaults of `transformers` (norms all ones, biases all zero, nearly uniform logits) would hide errors.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1.0 + 0.3 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(scale * noise)
    return model


def perturb(model, seed, scale):
    """Adds scale · N(0, 1) to every parameter: a policy that differs from its reference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def tokens(generator, count):
    """`count` random ids without the special ones."""
    return torch.randint(SPECIAL, VOCAB, (count,), generator=generator)


def to_v4_config(folder):
    """Rewrites config.json with the keys of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`).

    Nearly all published checkpoints still carry these; version 5 writes `rope_parameters` and `dtype`.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.45.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


WORDS = ["<pad>", "<bos>", "<eos>"] + [f"t{i}" for i in range(SPECIAL, VOCAB)]


def tokenizer():
    """A word-level tokenizer with one word per id: text that TRL can tokenise into exactly the ids we chose.

    No word ends in, or contains, the end token: TRL looks for it with `text.endswith`, tokenizers with a substring search.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<pad>"
    )


def as_text(ids):
    """The text of `ids`; each word begins with a space, so that prompt and completion may simply be joined."""
    return "".join(f" {WORDS[i]}" for i in ids)
