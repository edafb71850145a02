"""What a run is warned of before it begins: settings and questions that work and from which it would learn
little. `advice_for` says what to change where a sign shows later."""

from collections.abc import Iterator, Sequence
from typing import Any

from menon.assembly.header import quantity
from menon.assembly.placement import Placed
from menon.assembly.questions import stop_of
from menon.base import BASES
from menon.config import Models, Objective, OnlineSource, Policy
from menon.prompts.reader import Row
from menon.prompts.template import find_template
from menon.update.optimiser import Optimiser, rate

SMALL = 10_000_000
"""Parameters below which a model learns nothing at a rate of `SLOW` or less in a run of ordinary length."""
SLOW = 1e-5
FITS = 3e-4
"""The rate of the recipes for the built-in base."""
MARKS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "<|user|>")
"""How the chat templates of the common models begin a turn."""
PROBE = "Zq7"
"""A text that no chat template holds."""


def notices(
    source: OnlineSource,
    models: Models,
    objective: Objective,
    steps: int,
    rows: Sequence[Row],
    placed: Placed,
) -> Iterator[str]:
    """Sentences for the user, about a run of so many steps on these rows."""
    policy, critic = models.policy, models.critic
    if policy.natural is None:
        yield from of_schedule(policy.optimiser, steps * policy.updates_per_step)
        yield from of_rate(policy, placed.parameters)
    if critic is not None and not critic.shared_trunk:
        yield from of_schedule(critic.optimiser, steps * critic.updates_per_step, "critic.")
    yield from of_staleness(source, policy, objective)
    yield from of_markup(source, rows, placed.tokenizer)
    if end := unheard_end(source, placed):
        yield end


def of_staleness(source: OnlineSource, policy: Policy, objective: Objective) -> Iterator[str]:
    """Says so where text of older weights is learned from as if the newest ones had written it."""
    corrected = any(term.correction for term in objective.values())
    if source.staleness and policy.old == "trainer" and not corrected:
        name = "policy" if "policy" in objective else next(iter(objective))
        yield (
            f"staleness={source.staleness} learns from text of older weights, and no term weighs it by how "
            f"likely it is now; set objective.{name}.correction='[{{kind: importance}}]', or old=behaviour "
            "for a loss that clips its ratio"
        )


def of_schedule(optimiser: Optimiser, updates: int, owner: str = "") -> Iterator[str]:
    """Says so where the learning rate is small or 0 for most of a run with so many updates.

    >>> list(of_schedule(Optimiser(warmup_updates=5), 6))
    []
    """
    run = f"the run's {updates} update{'s' if updates > 1 else ''}"
    last = rate(optimiser, updates - 1)
    if optimiser.warmup_updates > updates:
        share = last / optimiser.learning_rate if optimiser.learning_rate else 0
        yield (
            f"{owner}warmup_updates={optimiser.warmup_updates} is longer than {run}, and the learning rate "
            f"ends at {share:.0%} of {optimiser.learning_rate:g}; set it to {max(1, updates // 10)}, or "
            "raise steps"
        )
    falls = optimiser.schedule != "constant" and optimiser.final_fraction < 0.01
    if falls and 2 * optimiser.total_updates <= updates:
        yield (
            f"{owner}total_updates={optimiser.total_updates} ends the {optimiser.schedule} schedule long "
            f"before {run}, and the learning rate is {last:g} after it; set {owner}total_updates={updates}"
        )


def of_rate(policy: Policy, parameters: int) -> Iterator[str]:
    """Says so where the rate of a large model meets a small one."""
    given = policy.optimiser.learning_rate
    if policy.model not in BASES and parameters < SMALL and 0 < given <= SLOW:
        yield (
            f"learning_rate is {given:g}, which fits models of .5 B parameters and more; this one has "
            f"{quantity(parameters)}: set learning_rate={FITS:g}"
        )


# The chat template


def of_markup(source: OnlineSource, rows: Sequence[Row], tokenizer: Any) -> Iterator[str]:
    """Says so where the template puts chat markup around questions that hold it already."""
    marks, texts = marks_put(source.template, tokenizer), [text_of_question(row["question"]) for row in rows]
    held = [found[0] for text in texts if (found := [mark for mark in marks if mark in text])]
    if held and 2 * len(held) >= len(rows):
        yield (
            f"{len(held)} of {len(rows)} questions hold {held[0]} already, and "
            f"template={source.template} puts chat markup around them once more; set template=none, or give "
            "the questions without it"
        )


def marks_put(template: str, tokenizer: Any) -> list[str]:
    """How a turn may begin that the template makes; [] for a template without chat markup."""
    form = find_template(template)
    if not form.as_turn:
        return list(MARKS) if any(mark in form.text for mark in MARKS) else []
    before = chat_text(tokenizer, [{"role": "user", "content": PROBE}]).partition(PROBE)[0]
    return [*MARKS, *(name for name in markers(tokenizer) if name in before)]


def text_of_question(question: Any) -> str:
    """A question's text, all messages of it."""
    if isinstance(question, str):
        return question
    return "\n".join(str(message.get("content")) for message in question)


def unheard_end(source: OnlineSource, placed: Placed) -> str:
    """The sentence about a chat template whose turns end with a token that ends no answer; "" where they
    do."""
    form, tokenizer = find_template(source.template), placed.tokenizer
    after = chat_text(
        tokenizer, [{"role": "user", "content": "?"}, {"role": "assistant", "content": PROBE}]
    ).rpartition(PROBE)[2]
    end = min((name for name in markers(tokenizer) if name in after), key=after.index, default="")
    used = form.as_turn or end in form.text
    if not end or not used or any(one in after for one in stop_of(source)):
        return ""
    if tokenizer.convert_tokens_to_ids(end) in placed.ends:
        return ""
    return (
        f"the chat template ends a turn with {end}, which does not end an answer of this model; set "
        f"stop='[\"{end}\"]'"
    )


def chat_text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """What the chat template makes of the messages; "" where there is none, or where it refuses them."""
    if not tokenizer.chat_template:
        return ""
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception:  # a template is a program that raises what it likes
        return ""


def markers(tokenizer: Any) -> list[str]:
    """The tokens that a chat template may write and a text does not: special and added ones."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    return [name for name in dict.fromkeys([*added, *tokenizer.all_special_tokens]) if name.strip()]


def advice_for(source: OnlineSource, placed: Placed) -> dict[str, str]:
    """Kind of a sign (`record.signs`) -> what to change in this run in place of the usual advice."""
    advice = {}
    if end := unheard_end(source, placed):
        advice["cut"] = end
    if placed.tokenizer.chat_template and not marks_put(source.template, placed.tokenizer):
        advice["blank"] = "this model has a chat template: set template=chat"
    return advice
