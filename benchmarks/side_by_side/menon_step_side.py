"""Our training step, as the recipe grpo builds it, on a sampler whose answers have settled lengths."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from menon.config import changed
from menon.loop import Run
from menon.recipes import recipe
from menon.recipes.build import build as build_run
from menon.reward.grade import grading_of
from menon.step import train_step
from menon.types import Completion, Request
from side_by_side.channel import serve
from side_by_side.task import digits


class Steps:
    """One step after another of a run; `seconds()` is what the next one takes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.memory = run.plan.memory()
        self.step = 0

    def seconds(self) -> float:
        run, self.step = self.run, self.step + 1
        start = time.perf_counter()
        report, self.memory = train_step(self.step, run.prompts, run.plan, run.sampler, run.models, run.channel, self.memory)
        seconds = time.perf_counter() - start
        self.generated = int(report.metrics["tokens/generated"])
        return seconds


def steps_of(folder: str, questions: str, dtype: str, samples: int, limits: Sequence[int], threads: int) -> Steps:
    """GRPO with one update a step and TRL's numbers for AdamW; `limits` [prompts * samples] are the answers' lengths."""
    changes = {
        "model": folder,
        "data": questions,
        "prompts_per_step": len(limits) // samples,
        "samples_per_prompt": samples,
        "updates_per_step": 1,
        "max_new_tokens": max(limits),
        "learning_rate": 1e-6,
        "optimiser.betas": (0.9, 0.999),
        "dtype": dtype,
        "device": "cpu",
        "slots": len(limits),
        "heldout": 1,
        "threads": threads,
    }
    run = build_run(changed(recipe("grpo"), changes))
    script(run.sampler, limits)
    return Steps(replace(run, plan=replace(run.plan, grade=grading_of(reward))))


def reward(prompt: str, completion: str, answer: str, **columns: Any) -> float:
    return digits(completion)


def script(sampler: Any, limits: Sequence[int]) -> None:
    """Gives the requests of each call the settled lengths, in their order; no token ends a text."""
    generate = sampler.generate
    sampler.end_tokens = np.array([-1])

    def scripted(requests: Sequence[Request]) -> Iterator[Completion]:
        pairs = zip(requests, limits, strict=True)
        return generate([replace(each, sampling=replace(each.sampling, max_new_tokens=limit)) for each, limit in pairs])

    sampler.generate = scripted


def build(**start: Any) -> Callable[..., dict[str, Any]]:
    steps = steps_of(**start, threads=1)

    def answer(threads: int) -> dict[str, Any]:
        torch.set_num_threads(threads)
        seconds = steps.seconds()
        if steps.generated != sum(start["limits"]):
            raise RuntimeError(f"{steps.generated} tokens were written, {sum(start['limits'])} were asked for")
        return {"seconds": seconds}

    return answer


if __name__ == "__main__":
    serve(build)
