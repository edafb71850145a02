"""Answers that grow by blocks."""

from collections.abc import Sequence
from dataclasses import replace

from menon.rollout.posterior.writer import Ending, Writer
from menon.types import Graded, Prompt


def limits_of(most: int, blocks: int) -> list[int]:
    """The lengths at which blocks end: about equal parts of the longest answer, the last of them whole.

    >>> limits_of(6, 4), limits_of(2, 16)
    ([1, 3, 4, 6], [1, 2])
    """
    return sorted({max(1, most * (block + 1) // blocks) for block in range(blocks)})


def begun(writer: Writer, prompts: Sequence[Prompt], count: int, limit: int) -> list[list[Graded]]:
    """`count` beginnings of answers to each prompt, of at most `limit` tokens."""
    short = replace(writer, sampling=replace(writer.sampling, max_new_tokens=limit))
    return short.groups(prompts, count)


def grown(writer: Writer, groups: Sequence[Sequence[Graded]], limit: int) -> list[list[Graded]]:
    """The answers, of which those that have not ended go on up to `limit` tokens."""
    moves = [
        Ending(one, len(one.rollout.answer_tokens), (0, limit), chain)
        for group in groups
        for chain, one in enumerate(group)
        if is_open(one, limit)
    ]
    longer = iter(writer.endings(moves, limit))
    return [[next(longer) if is_open(one, limit) else one for one in group] for group in groups]


def is_open(graded: Graded, limit: int) -> bool:
    """Whether an answer was cut before it had `limit` tokens."""
    return graded.rollout.finish == "length" and len(graded.rollout.answer_tokens) < limit
