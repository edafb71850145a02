"""Prints a table of benchmarks/results/posterior.md: `suffix_mh` against best-of-n at equal model tokens.

python scripts/posterior_table.py [QUESTIONS [SEED]]
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from menon.assembly.evaluation import task_rows
from menon.assembly.models import model_name
from menon.assembly.questions import rendered
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.limits import rows_of
from menon.eval.config import EvalConfig
from menon.parts import close
from menon.prompts.tasks import ChainSum, Countdown
from menon.reward.call import UserReward
from menon.reward.grade import grading_of
from menon.rollout.posterior import SuffixMH
from menon.rollout.posterior.acceptance import any_place
from menon.rollout.posterior.moves import Trace, advance
from menon.rollout.posterior.target import Target
from menon.types import Prompt, Sampling

BUDGETS = (50, 100, 200, 400)
"""Tokens that the model writes to a question."""
LONG = ChainSum(min_terms=8, max_terms=8)


def progress(prompt: str, completion: str, answer: str) -> float:
    """The share of the question's partial sums that the answer states one after another, as `a+b=c`."""
    terms = [int(term) for term in re.findall(r"\d+", prompt)]
    wanted = [sum(terms[: count + 2]) for count in range(len(terms) - 1)]
    stated = [int(number) for number in re.findall(r"=(\d+)", completion)]
    right = 0
    for number in stated:
        right += right < len(wanted) and number == wanted[right]
    return right / len(wanted)


TASKS: dict[str, tuple[str, Any, Any, int]] = {
    "chain_sum, 4 to 6 terms": ("base", ChainSum(), ChainSum().grade, 96),
    "chain_sum, 8 terms": ("base", LONG, LONG.grade, 128),
    "chain_sum, 8 terms, reward: share of the partial sums": ("base", LONG, UserReward(progress), 128),
    "countdown": ("search_base", Countdown(), Countdown().grade, 128),
}


def best_of_n(prompts: Sequence[Prompt], target: Target) -> list[list[float]]:
    """[questions][budgets] the best reward of the answers that fit whole into a budget."""
    found = [[0.0] * len(BUDGETS) for _ in prompts]
    tokens, number = [0] * len(prompts), 0
    with target.open() as writer:
        while going := [place for place, count in enumerate(tokens) if count < BUDGETS[-1]]:
            written = writer.answers([(prompts[place], number) for place in going])
            for place, one in zip(going, written, strict=True):
                tokens[place] += len(one.rollout.answer_tokens)
                note(found[place], tokens[place], one.verdict.score)
            number += 1
    return found


def chains(prompts: Sequence[Prompt], target: Target) -> list[list[float]]:
    """[questions][budgets] the best reward of the states of one chain within a budget."""
    ahead = SuffixMH().ahead(target)
    with target.open() as writer:
        traces = [Trace.begun(p, g) for p, g in zip(prompts, writer.groups(prompts, 1), strict=True)]
        found = [[0.0] * len(BUDGETS) for _ in prompts]
        while True:
            for trace, rewards in zip(traces, found, strict=True):
                note(rewards, trace.tokens, trace.states[-1][0].verdict.score)
            if not (going := [trace for trace in traces if trace.tokens < BUDGETS[-1]]):
                return found
            advance(going, writer, target, any_place, ahead)


def note(rewards: list[float], tokens: int, reward: float) -> None:
    """Raises the best reward of the budgets that have room for so many tokens."""
    for place, budget in enumerate(BUDGETS):
        if tokens <= budget:
            rewards[place] = max(rewards[place], reward)


def main() -> None:
    questions, seed = (int(word) for word in (*sys.argv[1:], "100", "0")[:2])
    torch.set_num_threads(1)
    print("| questions | method | " + " | ".join(f"{b} tokens" for b in BUDGETS) + " |")
    print("| -- | -- |" + " -- |" * len(BUDGETS))
    for name, (base, task, reward, most) in TASKS.items():
        model, tokenizer = load_policy(model_name(base), torch.float32, torch.device("cpu"))
        rows = task_rows(EvalConfig(task=task, n=questions))
        prompts = rendered(rows, "none", rows_of(model), tokenizer, most, "stop", print)
        sampler = TorchSampler(model, tokenizer, seed=seed, slots=256)
        target = Target(sampler, grading_of(reward), Sampling(max_new_tokens=most), seed=seed)
        results = {"best of n": best_of_n(prompts, target), "suffix_mh": chains(prompts, target)}
        gain = np.array(results["suffix_mh"]) - np.array(results["best of n"])
        close(reward)
        for method, found in results.items():
            print(
                f"| {name} | {method} | " + " | ".join(f"{m:.3f}" for m in np.mean(found, 0)) + " |",
                flush=True,
            )
        cells = []
        for column in gain.T:
            error = 1.96 * column.std(ddof=1) / len(column) ** 0.5
            cells.append(f"{column.mean():+.3f} ± {error:.3f}")
        print(f"| | difference | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
