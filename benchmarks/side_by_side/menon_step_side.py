"""Our training step, as the recipe grpo builds it, on a sampler whose answers have settled lengths."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from menon.assembly.build import build as build_run
from menon.config import changed
from menon.loop import Run
from menon.recipes import recipe
from menon.reward.grade import grading_of
from menon.step import train_step
from menon.types import Request, StepReport
from side_by_side.channel import serve
from side_by_side.task import digits


class Steps:
    """One step after another of a run; `seconds()` is what the next one takes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.memory = run.plan.memory()
        self.step = 0
        self.report: StepReport | None = None
        """Of the last step."""

    def seconds(self) -> float:
        run, self.step = self.run, self.step + 1
        start = time.perf_counter()
        self.report, self.memory = train_step(
            self.step, run.prompts, run.plan, run.sampler, run.models, run.channel, self.memory
        )
        return time.perf_counter() - start

    def metric(self, name: str) -> float:
        """Of the last step."""
        assert self.report is not None
        return self.report.metrics[name]


def steps_of(
    folder: str, questions: str, dtype: str, samples: int, limits: Sequence[int], device: str = "cpu"
) -> Steps:
    """GRPO with one update a step and TRL's numbers for AdamW; `limits` [prompts * samples] are the answers'
    lengths."""
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
        "device": device,
        "slots": len(limits),
        "heldout": 1,
    }
    run = build_run(changed(recipe("grpo"), changes))
    script(run.sampler, limits)
    return Steps(replace(run, plan=replace(run.plan, grade=grading_of(reward))))


def reward(prompt: str, completion: str, answer: str, **columns: Any) -> float:
    return digits(completion)


def script(sampler: Any, limits: Sequence[int]) -> None:
    """Gives the requests of each stream the settled lengths, in their order; no token ends a text."""
    open_stream = sampler.open
    sampler.end_tokens = np.array([-1])

    def scripted(keep: bool = False) -> Any:
        stream = open_stream(keep)
        ask = stream.ask

        def ask_scripted(requests: Sequence[Request]) -> None:
            pairs = zip(requests, limits, strict=True)
            ask(
                [replace(each, sampling=replace(each.sampling, max_new_tokens=limit)) for each, limit in pairs]
            )

        stream.ask = ask_scripted
        return stream

    sampler.open = scripted


def build(**start: Any) -> Callable[..., dict[str, Any]]:
    @cache
    def steps(threads: int) -> Steps:
        made = steps_of(**start)
        made.seconds()  # starts the sampler's processes, which is no part of a step
        return made

    def answer(threads: int) -> dict[str, Any]:
        torch.set_num_threads(
            threads
        )  # before a run is built: it decides how many processes and passes work side by side
        mine = steps(threads)
        return measured(mine, mine.seconds())

    def measured(steps: Steps, seconds: float) -> dict[str, Any]:
        graded = steps.report.graded if steps.report is not None else ()
        prompts = {each.rollout.group: len(each.rollout.prompt.tokens) for each in graded}
        written, asked = int(steps.metric("tokens/generated")), sum(start["limits"])
        if written != asked:
            raise RuntimeError(f"{written} tokens were written, {asked} were asked for")
        return {
            "seconds": seconds,
            "update": steps.metric("time/update"),
            "tokens": written + sum(prompts.values()),
        }

    return answer


if __name__ == "__main__":
    serve(build)
