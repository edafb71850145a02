"""`menon explain RECIPE key=value ...`: what a run would do, before anything runs."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from menon.cli import threads
from menon.cli.command import configured, quantity, size_of, understand, use
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.config import RunConfig
    from menon.recipes.derived import Sizes


def explain(words: Sequence[str]) -> int:
    asked = understand(words)
    if asked.resume is not None:
        raise UserError("explain is about a run that has not begun; name a recipe or a file of settings, without --resume")
    chosen = threads.choose(asked.settings)
    use(chosen, "cpu")
    config = configured(asked, chosen.count)
    for line in [*step(config), "", *peak(config)]:
        print(line)
    return 0


def step(config: "RunConfig") -> Iterator[str]:
    from menon.recipes.derived import sizes

    found = sizes(config)
    yield f"menon explain  {config.recipe}, scale {config.scale}"
    yield from (trees if config.rollout.kind == "tree" else answers)(config, found)
    yield f"  the run      {config.steps:,} steps of {config.updates_per_step} = {found.updates:,} updates of the policy"
    yield f"  off-policy   {off_policy(config, found)}"


def answers(config: "RunConfig", found: "Sizes") -> Iterator[str]:
    tokens, rate = found.tokens_at_most / config.updates_per_step, config.optimiser.learning_rate
    passes = math.ceil(tokens / config.tokens_per_forward)
    prompts, samples = config.prompts_per_step, config.samples_per_prompt
    yield f"  a step       {prompts:,} prompts x {samples:,} samples = {found.answers:,} answers"
    yield f"               at most {config.max_new_tokens:,} tokens each, {found.tokens_at_most:,} in all"
    if more := beside(config):
        yield f"               {more}"
    yield f"  an update    {found.per_update:,.0f} answers, at most {tokens:,.0f} tokens, learning rate {rate:g}"
    each = f"{passes:,} forward pass{'es' if passes > 1 else ''} of {config.tokens_per_forward:,} tokens"
    yield f"               {each} if every answer is that long, prompts not counted"


def beside(config: "RunConfig") -> str:
    """What a rollout writes beyond its groups."""
    samples = getattr(config.rollout, "value_samples", 0)
    return {
        "dynamic_sampling": "and more, where groups teach nothing and others are asked in their place",
        "greedy_baseline": "and a greedy answer to each prompt",
        "segments": f"and {samples} continuations from where each segment begins",
    }.get(config.rollout.kind, "")


def trees(config: "RunConfig", found: "Sizes") -> Iterator[str]:
    each = found.tokens_at_most // config.prompts_per_step
    yield f"  a step       {size_of(config)}, each of at most {each:,} tokens"
    yield f"               at most {found.answers:,} whole answers, {found.tokens_at_most:,} tokens"
    yield f"  an update    at most {found.per_update:,.0f} edges, learning rate {config.optimiser.learning_rate:g}"


def off_policy(config: "RunConfig", found: "Sizes") -> str:
    if not found.lag:
        return "none: each answer is learned from once, by the weights that wrote it"
    if config.rollout.kind == "tree":
        return f"an edge may wait, and is learned from at most {found.lag} updates after it was written"
    return f"an answer is learned from {found.lag / 2:g} updates after it was written on average, {found.lag} at most"


def peak(config: "RunConfig") -> Iterator[str]:
    from menon.recipes.derived import GIB, memory, shape_of

    shape = shape_of(config.model)
    if shape is None:
        yield f"  memory       unknown: {config.model} is not on this disk; name a local folder"
        return
    parts = memory(config, shape)
    yield f"  memory       about {sum(parts.values()) / GIB:,.2f} GiB for {config.model}, {quantity(shape.parameters)} parameters"
    for name, size in parts.items():
        yield f"    {name:<18}{size / GIB:>10,.3f} GiB"
    yield "    It assumes AdamW, fused attention, full passes, prompts of 128 tokens, answers of full length. The libraries take"
    yield "    about half a GiB more, and a checkpoint copies the optimiser's moments for a moment."
