"""What a run would ask and earn, before it runs: its first prompt as the model reads it, and the first
answers of its first step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from menon.assembly.build import build
from menon.assembly.run import configured
from menon.errors import UserError
from menon.limit import Limit
from menon.loop import Run, check_graders
from menon.record.sign import Sign
from menon.record.signs import first_signs
from menon.record.spans import pieces_of
from menon.rollout.groups import Groups
from menon.settings import Tree, plain_data
from menon.source.asynchronous import Asynchronous
from menon.source.online import Online
from menon.source.queued import Queued
from menon.source.told import Told
from menon.truth import check_known, settled
from menon.types import Graded, Prompt


@dataclass(frozen=True)
class Tried:
    """What a dry run found."""

    prompt: Prompt
    """The first prompt of the run's first step."""
    text: str
    """The prompt as the model reads it, special tokens shown."""
    pieces: Sequence[str]
    """[P] the text of each of its tokens."""
    context: Limit | None
    """Most tokens of prompt and answer together; None if the model's configuration does not say."""
    graded: Sequence[Graded]
    """The first answers that the run would write, prompt by prompt."""
    signs: Sequence[Sign]
    """What the evaluation before the first step would say of such answers."""
    faults: Sequence[str]
    """Why the run would stop at such answers, in sentences."""


@contextmanager
def built_to_try(
    recipe: str | None, changes: Sequence[Tree], count: int, again: Tree | None, notes: list[str]
) -> Iterator[tuple[Run, Tree, str]]:
    """The run of these settings with `count` threads, all its settings, and a refusal: the error with which
    the run would not start because of some of its rows, and which others are tried without; "" if there is
    none. `notes` gets what the user should read. UserError where the run cannot be built at all."""
    config, refusal = configured(recipe, changes, count, again), ""
    with ExitStack() as undo:
        try:
            run = undo.enter_context(build(config, notes.append))
        except UserError as error:
            if config.source.on_bad == "skip":
                raise
            notes.clear()
            without = replace(config, source=replace(config.source, on_bad="skip"))
            try:
                run = undo.enter_context(build(without, notes.append))
            except UserError:
                raise error from None
            refusal = str(error)
        yield run, plain_data(config), refusal


def tried(run: Run, settings: Mapping[str, Any], most: int) -> Tried:
    """Draws at most `most` answers as the run's first step would, in groups, but for the number of prompts:
    at least two if there can be two. A rollout that writes otherwise than in groups is not used."""
    online = online_of(run)
    samples, prompts = sizes(online.around.samples_per_prompt, most)
    around = replace(online.around, samples_per_prompt=samples, prompts_per_step=prompts)
    found = Groups()(online.prompts, online.sampler, online.grade, around)
    graded = settled(list(found.graded))
    first = graded[0].rollout.prompt
    assert run.spans is not None
    text, start = run.spans(first.tokens)
    return Tried(
        prompt=first,
        text=text,
        pieces=pieces_of(text, start.tolist()),
        context=getattr(online.sampler, "context", None),
        graded=graded,
        signs=first_signs(graded, settings),
        faults=list(faults_of(run, graded)),
    )


def sizes(samples_per_prompt: int, most: int) -> tuple[int, int]:
    """Answers to a prompt, and prompts: groups as large as the run's, but small enough for two of them.

    >>> sizes(8, 16), sizes(4, 16), sizes(64, 16), sizes(3, 16), sizes(1, 16), sizes(8, 1)
    ((8, 2), (4, 4), (8, 2), (3, 5), (1, 16), (1, 1))
    """
    samples = max(1, min(samples_per_prompt, most // 2))
    return samples, max(1, most // samples)


def faults_of(run: Run, graded: Sequence[Graded]) -> Iterator[str]:
    """Sentences about answers at which the run would stop."""
    try:
        check_graders(graded, "the dry run", "check again")
        for setting in run.needs_truth:
            check_known(graded, setting)
    except UserError as error:
        yield str(error)


def online_of(run: Run) -> Online:
    """The source of a run whose policy writes."""
    source = run.source
    while isinstance(source, Queued | Asynchronous | Told):
        source = source.inner
    assert isinstance(source, Online)
    return source
