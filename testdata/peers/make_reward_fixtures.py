"""A tiny reward model (LlamaForSequenceClassification, one label): scores of pairs, the Bradley-Terry loss and its gradients.

Needs testdata/fixtures/models/llama (make_model_fixtures.py), whose body it takes. Writes testdata/fixtures/reward: the model, and
`expected.safetensors` with ids, scores, and `grad.NAME` of every trained parameter. Pairs share their prompt; every
sequence is scored at its last token.
"""

import json

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification

from common import FIXTURES, to_v4_config, tokens

MARGIN, CENTERING = 0.25, 0.01


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = FIXTURES / "reward"
    model = AutoModelForSequenceClassification.from_pretrained(
        FIXTURES / "models" / "llama", num_labels=1, dtype=torch.float32, attn_implementation="eager"
    )
    generator = torch.Generator().manual_seed(71)
    with torch.no_grad():
        model.score.weight.copy_(0.3 * torch.randn(model.score.weight.shape, generator=generator))
    model.config.pad_token_id = 0
    out, lines, scores = {}, [], []
    for pair in range(3):
        prompt = tokens(generator, 4 + pair)
        answers = [torch.cat([tokens(generator, n), torch.tensor([2])]) for n in (3 + pair, 5 - pair)]
        lines.append({"prompt_ids": prompt.tolist(), "chosen_ids": answers[0].tolist(), "rejected_ids": answers[1].tolist()})
        for answer in answers:
            # alone, so that no padding decides where the last token is
            scores.append(model(input_ids=torch.cat([prompt, answer])[None]).logits[0, 0])
    chosen, rejected = torch.stack(scores[0::2]), torch.stack(scores[1::2])
    pairs = -torch.nn.functional.logsigmoid(chosen - rejected - MARGIN) + CENTERING * (chosen + rejected) ** 2
    loss = pairs.mean()
    loss.backward()
    out["scores"] = torch.stack(scores).detach()
    out["loss"] = loss.detach()[None]
    for name, parameter in model.named_parameters():
        out[f"grad.{name}"] = parameter.grad.clone()
    model.save_pretrained(folder)
    to_v4_config(folder)
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "expected.safetensors")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    case = {"name": "bradley_terry", "margin": MARGIN, "centering": CENTERING}
    (folder / "loss.json").write_text(json.dumps(case) + "\n")


if __name__ == "__main__":
    main()
