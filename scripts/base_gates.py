"""The gates that a built-in base must pass before reinforcement learning, measured for the search base.

    python scripts/base_gates.py [model=search_base] [trained=runs/NAME/checkpoints/latest] [n=512]

Held-out questions of `countdown` (difficulty 1) and `long_chain`. With `trained`, it also measures at which
tokens the trained model differs from its base.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from menon.assembly.models import model_name
from menon.base.search import HABITS
from menon.base.tokenizer import END_ID, PAD_ID, decode, encode
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.prompts.tasks import Countdown, LongChain
from menon.settings import override
from menon.types import Prompt, Request, Sampling

MOST = 96
"""Most new tokens of an answer."""
MADE_TO_WORK = 128
"""How many answers are written by the slow rule of `made_to_work`."""
TRIAL = re.compile(r"^(\d+)([+-])(\d+)=(\d+) \d+ (yes|no)\n(.)", re.MULTILINE)
Rows = Sequence[dict[str, Any]]


def main() -> None:
    torch.manual_seed(0)
    asked = dict(map(override, sys.argv[1:]))
    n = int(asked.get("n", 512))
    searches, chains = Countdown().rows("heldout", n, seed=7), LongChain().rows("heldout", n, seed=7)
    questions = [row["question"] for row in searches]
    policy = load_policy(model_name(str(asked.get("model", "search_base"))))
    print("template | search: accuracy, length, tries, goes on after a miss | chain: accuracy, length")
    for name, temperature in (*((name, 1.0) for name in HABITS), ("plain", 0.0)):
        fill = HABITS[name].template.format
        said = write(policy, [fill(q=question) for question in questions], temperature)
        worked = write(policy, [fill(q=row["question"]) for row in chains], temperature)
        print(
            f"{name}, temperature {temperature:g} | {searched(searches, said)} | {chained(chains, worked)}",
            flush=True,
        )
        print(f"  {checks(searches, said)}")
    for temperature in (0.0, 1.0):
        guesses = [
            f"#{text}" for text in write(policy, [f"{question}#" for question in questions], temperature)
        ]
        print(f"guess at once, temperature {temperature:g} | {searched(searches, guesses)}")
    forced = made_to_work(policy[0], questions[:MADE_TO_WORK])
    print(
        f"no answer before a hit (n {len(forced)}) | {searched(searches[:MADE_TO_WORK], forced)}", flush=True
    )
    if "trained" in asked:
        trained = load_policy(str(asked["trained"]))
        said = write(trained, questions, 1.0)
        print(f"trained | {searched(searches, said)}\n  {checks(searches, said)}")
        print(f"  {left(trained[0], policy[0], questions, said)}")


def write(policy: tuple[Any, Any], prompts: Sequence[str], temperature: float) -> list[str]:
    sampling = Sampling(MOST, temperature)
    given = [Prompt(i, np.array(encode(text), dtype=np.int32), text) for i, text in enumerate(prompts)]
    with TorchSampler(*policy, seed=0).open() as stream:
        stream.ask([Request(prompt, sampling) for prompt in given])
        texts = {completion.request.prompt.index: completion.text for completion in stream}
    return [texts[i] for i in range(len(prompts))]


def grades(rows: Rows, texts: Sequence[str]) -> list[float]:
    return [Countdown().grade(row["question"], text, "") for row, text in zip(rows, texts, strict=True)]


def searched(rows: Rows, texts: Sequence[str]) -> str:
    task = Countdown()
    tries, again = (
        np.mean([task.works(text) for text in texts]),
        np.mean([task.reflects(text) for text in texts]),
    )
    return f"{np.mean(grades(rows, texts)):.3f}, {length(texts):.1f}, {tries:.3f}, {again:.3f}"


def chained(rows: Rows, texts: Sequence[str]) -> str:
    right = [LongChain().grade("", text, row["answer"]) for row, text in zip(rows, texts, strict=True)]
    return f"{np.mean(right):.3f}, {length(texts):.1f}"


def length(texts: Sequence[str]) -> float:
    """Mean tokens, the end included."""
    return float(np.mean([len(encode(text)) + 1 for text in texts]))


def checks(rows: Rows, texts: Sequence[str]) -> str:
    """How the model uses its trials, and whether answers after a hit are right more often than others."""
    seen: Counter[str] = Counter()
    for row, text in zip(rows, texts, strict=True):
        for a, sign, b, value, word, after in TRIAL.findall(text):
            made = int(a) + int(b) if sign == "+" else int(a) - int(b)
            seen.update(trials=1, sums=made == int(value))
            if made == row["target"]:
                seen.update(hits=1, stops=word == "yes" and after == "#")
            else:
                seen.update(misses=1, again=after != "#", false=word == "yes")
    right = grades(rows, texts)
    split = [
        [r for r, text in zip(right, texts, strict=True) if (" yes\n#" in text) == hit]
        for hit in (True, False)
    ]
    behind, other = (f"{np.mean(part) if part else 0:.3f} (n {len(part)})" for part in split)
    share = {
        a: seen[a] / max(1, seen[b]) for a, b in (("sums", "trials"), ("stops", "hits"), ("again", "misses"))
    }
    return (
        f"{seen['trials']} trials, value right {share['sums']:.3f}; {seen['hits']} hits, stops on "
        f"{share['stops']:.3f}; "
        f"{seen['misses']} misses, goes on after {share['again']:.3f}, takes {seen['false']} for hits; "
        f"right after a hit {behind}, else {other}"
    )


@torch.no_grad()
def made_to_work(model: Any, prompts: Sequence[str]) -> list[str]:
    """Answers at temperature 1 in which neither a hash mark nor an end is allowed before a hit; every token
    is computed from the whole text."""
    rows = [encode(prompt) for prompt in prompts]
    live = list(range(len(rows)))
    for _ in range(MOST):
        width = max(len(rows[i]) for i in live)
        ids = torch.tensor([rows[i] + [PAD_ID] * (width - len(rows[i])) for i in live])
        logits = model(input_ids=ids, use_cache=False).logits[
            torch.arange(len(live)), [len(rows[i]) - 1 for i in live]
        ]
        early = [k for k, i in enumerate(live) if " yes\n" not in decode(rows[i])]
        logits[early, ord("#")] = logits[early, END_ID] = -torch.inf
        for i, token in zip(live, logits.softmax(-1).multinomial(1)[:, 0].tolist(), strict=True):
            rows[i].append(token)
        live = [i for i in live if rows[i][-1] != END_ID]
        if not live:
            break
    return [decode(row[len(encode(prompt)) :]) for row, prompt in zip(rows, prompts, strict=True)]


@torch.no_grad()
def left(trained: Any, base: Any, prompts: Sequence[str], texts: Sequence[str]) -> str:
    """Exact KL of the trained model from its base at each token of its own answers."""
    first, whole = [], []
    for prompt, text in zip(prompts, texts, strict=True):
        start, ids = len(encode(prompt)) - 1, torch.tensor([[*encode(prompt), *encode(text), END_ID]])
        p, q = (
            model(input_ids=ids, use_cache=False).logits[0, start:-1].log_softmax(-1)
            for model in (trained, base)
        )
        kl = (p.exp() * (p - q)).sum(-1)
        first.append(float(kl[0]))
        whole.append(float(kl.sum()))
    return (
        f"KL from the base {np.mean(whole):.2f} nats a sequence, "
        f"{np.mean(first) / np.mean(whole):.3f} of it on the first token"
    )


if __name__ == "__main__":
    main()
