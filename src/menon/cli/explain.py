"""`menon explain RECIPE key=value ...`: what a run would do, before anything runs."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from menon import threads
from menon.assembly.run import configured, use
from menon.cli.command import understand
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.assembly.derived import ModelSize, Sizes
    from menon.config import RunConfig


def explain(words: Sequence[str]) -> int:
    asked = understand(words)
    if asked.resume is not None:
        raise UserError(
            "explain is about a run that has not begun; name a recipe or a file of settings, without --resume"
        )
    chosen = threads.choose(asked.settings)
    use(chosen, "cpu")
    config = configured(asked.recipe, asked.changes, chosen.count, asked.again)
    from menon.assembly.derived import side_by_side, size_of_model

    shape = size_of_model(config.models.policy.model)
    workers = side_by_side(config, shape)
    for line in [*step(config, workers), *parted(chosen, workers), "", *peak(config, shape)]:
        print(line)
    return 0


def step(config: "RunConfig", workers: int) -> Iterator[str]:
    from menon.assembly.derived import sizes

    found = sizes(config)
    yield f"menon explain  {config.recipe}, scale {config.scale}"
    yield from whole(config, found) if found.step.form else answers(config, found, workers)
    yield f"  the run      {config.control.steps:,} steps of {config.models.policy.updates_per_step} = {found.updates:,} updates of the policy"
    yield f"  off-policy   {off_policy(config, found)}"


def parted(chosen: threads.Threads, workers: int) -> Iterator[str]:
    """Who has the threads."""
    yield f"  threads      {chosen.count} ({chosen.reason})"
    if workers > 1:
        yield f"               {workers} processes write answers, {workers} passes run side by side"


def answers(config: "RunConfig", found: "Sizes", workers: int) -> Iterator[str]:
    from menon.assembly.derived import tokens_per_pass

    tokens, rate = (
        found.per_update * config.source.max_new_tokens,
        config.models.policy.optimiser.learning_rate,
    )
    size = tokens_per_pass(config, tokens, workers)
    passes = math.ceil(tokens / size)
    prompts, samples = config.source.prompts_per_step, config.source.samples_per_prompt
    yield f"  a step       {prompts:,} prompts x {samples:,} samples = {found.step.answers:,} answers"
    yield f"               at most {config.source.max_new_tokens:,} tokens each, {found.step.tokens:,} in all"
    if found.step.more:
        yield f"               {found.step.more}"
    yield f"  an update    {found.per_update:,.0f} answers, at most {tokens:,.0f} tokens, learning rate {rate:g}"
    yield f"               {passes:,} forward pass{'es' if passes > 1 else ''} of {size:,} tokens,"
    yield "               if every answer is that long, prompts not counted"


def whole(config: "RunConfig", found: "Sizes") -> Iterator[str]:
    """Of rollouts that are not prompts times samples."""
    size = found.step
    each = size.tokens // config.source.prompts_per_step
    yield f"  a step       {size.form}, each of at most {each:,} tokens"
    yield f"               at most {size.answers:,} whole answers, {size.tokens:,} tokens"
    yield (
        f"  an update    at most {found.per_update:,.0f} {size.unit}, "
        f"learning rate {config.models.policy.optimiser.learning_rate:g}"
    )


def off_policy(config: "RunConfig", found: "Sizes") -> str:
    if not found.lag:
        return "none: each answer teaches once, and the weights that wrote it"
    if found.step.max_age > 1:
        return f"{found.step.unit} may wait, and are learned from at most {found.lag} updates late"
    return f"an answer is learned from {found.lag / 2:g} updates late on average, {found.lag} at most"


def peak(config: "RunConfig", shape: "ModelSize | None") -> Iterator[str]:
    from menon.assembly.derived import GIB, memory

    if shape is None:
        yield f"  memory       unknown: {config.models.policy.model} is not on this disk; name a local folder"
        return
    parts = memory(config, shape)
    from menon.assembly.header import quantity

    yield f"  memory       about {sum(parts.values()) / GIB:,.2f} GiB for {config.models.policy.model}, {quantity(shape.parameters)} parameters"
    for name, size in parts.items():
        yield f"    {name:<18}{size / GIB:>10,.3f} GiB"
    yield "    if passes are full, prompts have 128 tokens and answers their full length,"
    yield "    with AdamW and fused attention; a checkpoint copies AdamW's moments for a"
    yield "    moment, and processes that grade come on top"
