"""`menon explain RECIPE key=value ...`: what a run would do, before anything runs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from menon.cli import threads
from menon.cli.command import configured, quantity, understand, use
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.config import RunConfig


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
    tokens = found.tokens_at_most / config.updates_per_step
    passes, rate = max(1, tokens / config.tokens_per_forward), config.optimiser.learning_rate
    prompts, samples = config.prompts_per_step, config.samples_per_prompt
    yield f"menon explain  {config.recipe}, scale {config.scale}"
    yield f"  a step       {prompts:,} prompts x {samples:,} samples = {found.answers:,} answers"
    yield f"               at most {config.max_new_tokens:,} tokens each, {found.tokens_at_most:,} in all"
    yield f"  an update    {found.answers_per_update:,.0f} answers, at most {tokens:,.0f} tokens, learning rate {rate:g}"
    yield f"               {passes:,.1f} forward passes of {config.tokens_per_forward:,} tokens if every answer is that long"
    yield f"  the run      {config.steps:,} steps of {config.updates_per_step} = {found.updates:,} updates of the policy"
    yield f"  off-policy   {off_policy(config)}"
    if config.rollout.kind == "tree":
        yield f"  trees        {trees(config)}"
    elif config.rollout.kind != "groups":
        yield f"               rollout={config.rollout.kind} may write more answers than these"


def trees(config: "RunConfig") -> str:
    """In place of plain answers."""
    from menon.rollout.grow import Shape
    from menon.rollout.kinds import TreeRollout

    own = config.rollout
    assert isinstance(own, TreeRollout)
    shape = Shape(own.branching, own.segment_tokens)
    tokens = shape.most_tokens(0, config.max_new_tokens)
    return (
        f"a tree for each prompt, of at most {shape.most_nodes():,} nodes and {tokens:,} tokens; at most "
        f"{own.edges_per_question} of its edges are learned from in a step"
    )


def off_policy(config: "RunConfig") -> str:
    from menon.recipes.derived import sizes

    mean, most = sizes(config).lag
    if not most:
        return "none: each answer is learned from once, by the weights that wrote it"
    return f"an answer is learned from {mean:g} updates after it was written on average, {most} at most"


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
