"""From a configuration to a run on given text: examples to imitate, pairs, answers with a label."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from menon.assembly.answer_length import length_for
from menon.assembly.before import check_before
from menon.assembly.build import close_grade, evaluation_of, grade_of, plan_of, probe_of, reward_of
from menon.assembly.chat_template import chat_with, check_used
from menon.assembly.header import model_in_words
from menon.assembly.models import device_of
from menon.assembly.negatives import sampler_of_reference, with_negatives
from menon.assembly.origin import origin_of_run
from menon.assembly.placement import Placed, Unwritten, place, place_without_sampler
from menon.assembly.questions import (
    held_out,
    heldout_questions,
    prompts_to_train,
    questions,
    stop_of,
    with_examples,
)
from menon.assembly.reward_models import with_models
from menon.assembly.teachers import ByColumn, by_column
from menon.assembly.written import with_written
from menon.batch import Batch, pack_examples
from menon.config import OnlineSource, Policy, RunConfig, around_of, setup_of
from menon.engines.decoding.stop_strings import text_of
from menon.engines.tokens import continue_with, marker_for, tokenize_with
from menon.errors import UserError
from menon.eval.run import Evaluation
from menon.loop import Run
from menon.parts import Around
from menon.prompts.examples import Encoded, Encoder, encode
from menon.prompts.given import NAMES, UNUSABLE, GivenRow, GivenText, read_given
from menon.prompts.template import find_template
from menon.record.spans import TextSpans
from menon.rollout.protocols import Grade
from menon.settings import plain_data
from menon.source.protocols import Source
from menon.source.rows import Rows
from menon.types import Example, Sampling
from menon.update.measure import measure

Notify = Callable[[str], None]


@contextmanager
def build_given(config: RunConfig, notify: Notify = lambda sentence: None) -> Iterator[Run]:
    """Builds all parts of a run on given text, as `build.build` does for one on its policy's answers."""
    rows = config.rows
    assert rows is not None
    check_before(config, notify)
    around = replace(
        around_of(config.source, config.control.seed), notify=notify, device=config.engine.device
    )
    with ExitStack() as undo:
        placed: Placed | Unwritten
        asked: Asked | None = None
        if config.asks:
            placed = writing = undo.enter_context(place(config, notify))
            if config.names_questions:
                asked = asked_of(config.source, writing, around, undo, notify)
        else:
            temperature, names = config.source.temperature, tuple(config.own_code)
            what = (config.models, config.objective, config.engine, temperature, config.control, names)
            placed = undo.enter_context(place_without_sampler(*what, notify))
        left_out: Counter[str] = Counter()
        found = rows_of(rows, notify, left_out)
        encoder = encoder_of(config.source, placed, rows, by_column(config.models))
        train, heldout = (encoded(part, encoder, rows, placed.context, notify) for part in found)
        given = Rows(train.rows, rows.rows_per_step, config.control.seed)
        source: Source = given
        held: Sequence[tuple[Example, ...]] = heldout.rows
        if rows.negatives != "none":
            seed, slots = config.control.seed, config.engine.slots
            writer = sampler_of_reference(rows.negatives, config.models, placed, seed, slots)
            undo.callback(writer.close)
            source, held = with_negatives(given, heldout.rows, rows, config.source, placed, writer, seed)
        if rows.written_share:
            grade, asks = None if asked is None else asked.grade, config.source
            if asked is not None:
                asks = replace(asked.source, max_new_tokens=asks.max_new_tokens)
            source = with_written(source, found[0], rows, config.models, asks, writing, grade, around, notify)
            undo.callback(source.close)
        known = None if rows.form == "answers" else pack_examples(given.first(len(heldout.rows)))
        plan = plan_of(setup_of(config), around, config.models, config.control)
        yield Run(
            plan=plan,
            source=source,
            host=placed.host,
            channel=placed.channel,
            steps=config.control.steps,
            evaluate=None if asked is None else asked.evaluate,
            measure=partial(measured, pack_examples(held), known, plan.updates[0], placed.host),
            probe=dict if asked is None else asked.probe,
            save_every=config.control.save_every,
            evaluate_every=config.control.evaluate_every,
            stop_without_signal=config.control.stop_without_signal,
            spans=TextSpans(text_of(placed.tokenizer, skip_special=False)),
            origin=placed.origin if asked is None else asked.origin,
            settings=plain_data(config if asked is None else replace(config, source=asked.source)),
            left_out=left_out + train.left_out + heldout.left_out,
            header={
                "recipe": config.recipe,
                **header_of(config.models.policy, rows, train.rows, placed, config.engine.dtype),
            },
        )


OF_LEARNED = ("pairs/accuracy", "pairs/margin", "kto/accuracy")
"""What is measured on learned rows as well: a distance shows rows that are learned by heart."""


def measured(held: Batch, known: Batch | None, update: Any, host: Any) -> dict[str, float]:
    """The losses' metrics on the held-out rows, and how many those are; some of them on rows that are learned
    first, as learned/NAME."""
    found = {**measure(held, update, host), "rows": float(rows_in(held))}
    if known is not None:
        of_known = measure(known, update, host)
        found |= {f"learned/{name}": of_known[name] for name in OF_LEARNED if name in of_known}
        found["learned/rows"] = float(rows_in(known))
    return found


def rows_in(batch: Batch) -> int:
    return batch.num_sequences if batch.pair is None else batch.num_sequences // 2


# The rows


def rows_of(rows: GivenText, notify: Notify, left_out: Counter[str]) -> tuple[list[GivenRow], list[GivenRow]]:
    """Rows to learn from and held-out rows; `left_out` counts the others by reason."""
    if rows.data is None:
        raise UserError("this recipe learns from given text and has none; set data=FILE")
    train = read(rows.data, rows, notify, left_out)
    if rows.heldout_data is not None:
        return train, read(rows.heldout_data, rows, notify, left_out)[: rows.heldout]
    return apart(train, rows)


def read(path: str, rows: GivenText, notify: Notify, left_out: Counter[str]) -> list[GivenRow]:
    found, missing = read_given(path, rows.form, rows.columns, rows.on_bad, rows.drop)
    for reason, count in missing.items():
        what = f"rows of {path} cannot be used and" if reason == UNUSABLE else f"{reason} of {path}"
        notify(f"{count:,} {what} are left out")
    left_out.update(missing)
    return found


def apart(found: Sequence[GivenRow], rows: GivenText) -> tuple[list[GivenRow], list[GivenRow]]:
    """Holds out some of the questions, as `questions.held_out` does: (rows to learn from, held-out rows)."""
    names = {row.question for row in found}
    if len(names) < 2:
        raise UserError(
            f"{rows.data} asks one question only; a run needs one to learn from and another to measure with"
        )
    held = held_out(names, rows.heldout, rows.heldout_seed)
    return (
        [row for row in found if row.question not in held],
        [row for row in found if row.question in held],
    )


def encoded(
    found: Sequence[GivenRow], encoder: Encoder, rows: GivenText, context: int | None, notify: Notify
) -> Encoded:
    """The rows as this model reads them; `notify` gets what is left out or cut."""
    longest = min(context or 2**31, rows.max_tokens or 2**31)
    made = encode(found, encoder, longest, rows.truncate, rows.on_bad)
    for reason, count in made.left_out.items():
        notify(f"{count} of {len(found)} rows are left out: {reason}")
    if made.cut:
        notify(f"{made.cut} of {len(found)} rows are cut, and do not teach where an answer ends")
    return made


def encoder_of(
    source: OnlineSource, placed: Placed | Unwritten, rows: GivenText, teacher_of: ByColumn
) -> Encoder:
    tokenizer = placed.tokenizer
    check_used(source.template, source.template_arguments)
    return Encoder(
        find_template(source.template),
        tokenize_with(tokenizer),
        continue_with(tokenizer),
        chat_with(tokenizer, source.template_arguments),
        placed.ends,
        rows.learned,
        marker_for(tokenizer),
        teacher_of,
    )


def header_of(
    policy: Policy,
    rows: GivenText,
    train: Sequence[tuple[Example, ...]],
    placed: Placed | Unwritten,
    dtype: str,
) -> dict[str, str]:
    """The lines that describe the run, above its progress."""
    epoch = -(-len(train) // rows.rows_per_step)
    return {
        "model": model_in_words(policy, placed.parameters),
        "data": f"{rows.data}, {len(train):,} {NAMES[rows.form]}; all are seen in {epoch:,} steps",
        "step": f"{rows.step}, learning rate {policy.optimiser.learning_rate:g}",
        "machine": f"{placed.device}, {dtype}",
    }


# Questions that are asked before and after


@dataclass(frozen=True)
class Asked:
    evaluate: Any
    probe: Any
    grade: Grade
    origin: Any
    source: OnlineSource
    """With the length of answers worked out."""


def asked_of(source: OnlineSource, placed: Placed, around: Around, undo: ExitStack, notify: Notify) -> Asked:
    """The held-out questions of the source, which the policy answers before and after."""
    reward_models: dict[str, str] = {}
    around = with_models(around, partial(device_of, around.device), reward_models, source.template)
    grade = grade_of(source, reward_of(source, around))
    undo.callback(close_grade, grade)
    asked = heldout_questions(source, notify)
    if not source.few_shot.empty:
        rows, _ = questions(source, around.seed, notify)
        source, _, asked = with_examples(source, rows, asked, notify)
    prompts = prompts_to_train(asked, source, placed.context, placed.tokenizer, grade, notify)
    length = length_for(source.max_new_tokens, placed.context, prompts)
    sampling = Sampling(length, stop=stop_of(source))
    evaluation: Evaluation = evaluation_of(source, prompts, grade, sampling, placed)
    return Asked(
        evaluate=partial(evaluation, placed.sampler),
        probe=partial(probe_of(source, evaluation), placed.sampler),
        grade=grade,
        origin=origin_of_run(placed.origin, (), prompts, reward_models, getattr(grade, "reward", None)),
        source=replace(source, max_new_tokens=length),
    )
