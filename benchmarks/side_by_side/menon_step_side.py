"""Menon's training step, as the recipe grpo builds it, on a sampler whose answers have fixed lengths."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from menon.assembly.build import build as build_run
from menon.config import changed
from menon.recipes import recipe
from menon.reward.grade import grading_of
from menon.source.online import Online
from menon.types import Request
from side_by_side.channel import serve
from side_by_side.menon_steps import OPEN, Steps, answering
from side_by_side.task import digits

PHASES = ("rollout", "score", "update", "sync")
"""Stages of a step whose seconds are told."""


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
    run = OPEN.enter_context(build_run(changed(recipe("grpo"), changes)))
    assert isinstance(run.source, Online)
    script(run.source.sampler, limits)
    run.source.grade = grading_of(reward)
    return Steps(run, run.source)


def reward(prompt: str, completion: str, answer: str, **columns: Any) -> float:
    return digits(completion)


def script(sampler: Any, limits: Sequence[int]) -> None:
    """Gives the requests of each stream the fixed lengths, in their order; no token ends a text."""
    open_stream = sampler.open
    sampler.end_tokens = np.array([-1])

    def scripted(keep: bool = False) -> Any:
        stream = open_stream(keep)
        ask = stream.ask

        def ask_scripted(requests: Sequence[Request]) -> None:
            pairs = zip(requests, limits, strict=True)
            ask(
                [
                    replace(each, sampling=replace(each.sampling, max_new_tokens=limit))
                    for each, limit in pairs
                ]
            )

        stream.ask = ask_scripted
        return stream

    sampler.open = scripted


def build(**start: Any) -> Callable[..., dict[str, Any]]:
    def steps() -> Steps:
        made = steps_of(**start)
        made.seconds()  # starts the sampler's processes, which is no part of a step
        return made

    def numbers(steps: Steps) -> dict[str, float]:
        graded = steps.report.graded if steps.report is not None else ()
        prompts = {each.rollout.group: len(each.rollout.prompt.tokens) for each in graded}
        written, asked = int(steps.metric("tokens/generated")), sum(start["limits"])
        if written != asked:
            raise RuntimeError(f"{written} tokens were written, {asked} were asked for")
        phases = {name: steps.metric(f"time/{name}") for name in PHASES}
        on_gpu = start.get("device") == "cuda"
        memory = {"device_gib": steps.metric("memory/device_gib")} if on_gpu else {}
        return {"tokens": written + sum(prompts.values()), **phases, **memory}

    return answering(steps, numbers)


if __name__ == "__main__":
    serve(build)
