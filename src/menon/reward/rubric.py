"""Weighted criteria that a judge checks one by one, or all in one call (HealthBench, arXiv 2505.08775;
Rubrics as Rewards, arXiv 2507.17746)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

from menon.errors import UserError
from menon.parts import Around
from menon.reward.batched import NoReply, ask
from menon.reward.code.signatures import Asked
from menon.reward.criteria import (
    Criterion,
    criteria_of,
    decisions_of,
    name_of,
    read_criteria,
    score_of,
)
from menon.reward.judge import Complete, Reply, failed, fill, question_of
from menon.reward.judge_text import decision_of, speaks_to_judge
from menon.thought import after_thinking
from menon.types import Verdict
from menon.user_code import describe

PLACES = ("{question}", "{answer}", "{criterion}")
TOKENS, TOKENS_TOGETHER = 16, 512


@dataclass(frozen=True)
class Rubric:
    """R = clip(sum of w_j over the criteria that are met / sum of the positive w_j, 0, 1). Each criterion is
    a part of the verdict, 1 if it is met; `acc` is unknown. Criteria are {criterion, weight, name}; a
    negative weight is for a fault.

    The judge reads the question and the whole answer after its thought, each line after "> ", so that no line
    of it looks like a part of the prompt or like a reply. What the judge replies is read, and nothing of the
    answer. An answer that speaks to the judge or of its words meets no criterion and is not sent
    (`judge_text.speaks_to_judge`), and neither is one without text; both score 0.

    NaN with an error: a row without a usable rubric; a reply that says neither yes nor no of a criterion; a
    call that raises, takes longer than `time_limit` seconds for a batch, or returns something else than one
    reply per prompt.
    """

    model: str | Complete = ""
    """A folder or a name on the hub, run in this process; with `url`, the model's name on the server. From
    Python also a function."""
    url: str = ""
    """Where an OpenAI-compatible server's API begins, like http://127.0.0.1:8000/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key."""
    rubric: str = ""
    """A file of criteria for all rows, JSON lines or a JSON list; "": each row's own column `rubric`."""
    together: bool = False
    """All criteria in one call, whose reply has a line for each, and not one call for each."""
    max_new_tokens: int | None = None
    """Most tokens of a reply; null: 16, with `together` 512."""
    batch_size: int = 64
    """Prompts per call."""
    time_limit: float = 120.0
    """Seconds for one batch."""
    kind: Literal["rubric"] = "rubric"

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError(
                "a rubric needs a model that judges: set reward.model to a folder, or to the name of one on "
                "the server at reward.url"
            )
        tokens = 1 if self.max_new_tokens is None else self.max_new_tokens
        if self.batch_size < 1 or tokens < 1 or not self.time_limit > 0:
            raise UserError(
                f"a rubric's batch_size ({self.batch_size}) and max_new_tokens ({tokens}) must be at least "
                f"1, its time_limit ({self.time_limit}) positive"
            )

    def build(self, around: Around) -> "Rubric":
        """The rubric with its file read and its model loaded."""
        assert self.rubric == "" or self.common  # a file is read before a model is loaded
        if not isinstance(self.model, str):
            return self
        tokens = self.max_new_tokens or (TOKENS_TOGETHER if self.together else TOKENS)
        if self.url:
            return replace(self, model=around.connect_judge(self.url, self.model, self.key_variable, tokens))
        return replace(self, model=around.load_judge(self.model, False, tokens))

    @property
    def complete(self) -> Complete:
        assert not isinstance(self.model, str), "a rubric is built before it is asked"
        return self.model

    @cached_property
    def common(self) -> tuple[Criterion, ...]:
        """The criteria of the file; () without one."""
        return read_criteria(self.rubric) if self.rubric else ()

    @cached_property
    def text(self) -> str:
        """The prompt, with the fields that are filled in for each answer."""
        name = "rubric_prompt_together.txt" if self.together else "rubric_prompt.txt"
        return (files("menon.reward") / name).read_text(encoding="utf-8")

    def __call__(
        self, prompt: str, completion: str, answer: str | None, question: Any = None, **columns: Any
    ) -> Verdict:
        """One answer; `many` is the same for a batch and faster."""
        return self.many([Asked(prompt, completion, answer, {"question": question, **columns})])[0]

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers."""
        criteria = [self.criteria(one) for one in asked]
        prompts = [
            [] if isinstance(own, Verdict) else self.prompts(one, own)
            for one, own in zip(asked, criteria, strict=True)
        ]
        wanted = list(dict.fromkeys(text for own in prompts for text in own))
        replies: dict[str, Reply] = {}
        for start in range(0, len(wanted), self.batch_size):
            replies |= self._ask(wanted[start : start + self.batch_size])
        return [
            own if isinstance(own, Verdict) else self.verdict(own, [replies[text] for text in texts])
            for own, texts in zip(criteria, prompts, strict=True)
        ]

    def criteria(self, asked: Asked) -> tuple[Criterion, ...] | Verdict:
        """The criteria of an answer; or a verdict if there is nothing to ask."""
        try:
            own = self.common or criteria_of(asked.columns.get("rubric"))
        except ValueError as error:
            return Verdict(math.nan, math.nan, error=f"the rubric of this row {error}")
        text = after_thinking(asked.prompt, asked.completion) or ""
        if not text.strip() or speaks_to_judge(text):
            return verdict_of(own, [False] * len(own), addressed=bool(text.strip()))
        return own

    def prompts(self, asked: Asked, criteria: Sequence[Criterion]) -> list[str]:
        """What the judge is asked about an answer."""
        said = (after_thinking(asked.prompt, asked.completion) or "").strip()
        quoted = "\n".join(f"> {line}" for line in said.splitlines())
        texts = [criterion.text for criterion in criteria]
        if self.together:
            texts = ["\n".join(f"{number}: {text}" for number, text in enumerate(texts, start=1))]
        return [fill(self.text, (question_of(asked), quoted, text), PLACES) for text in texts]

    def verdict(self, criteria: Sequence[Criterion], replies: Sequence[Reply]) -> Verdict:
        """The verdict from the replies to an answer's prompts."""
        try:
            if self.together:
                met = decisions_of(text_of(replies[0]), len(criteria))
            else:
                met = [decided(number, reply) for number, reply in enumerate(replies, start=1)]
        except NoReply as error:
            return failed(error)
        return verdict_of(criteria, met)

    def _ask(self, prompts: Sequence[str]) -> dict[str, Reply]:
        try:
            return dict(zip(prompts, ask(self.complete, prompts, self.time_limit), strict=True))
        except NoReply as error:
            return dict.fromkeys(prompts, error)


def verdict_of(criteria: Sequence[Criterion], met: Sequence[bool], addressed: bool = False) -> Verdict:
    parts = {
        name_of(number, criterion): float(is_met)
        for number, (criterion, is_met) in enumerate(zip(criteria, met, strict=True), start=1)
    }
    score = score_of(criteria, met)
    return Verdict(score, math.nan, {**parts, "speaks_to_judge": float(addressed)})


def text_of(reply: Reply) -> str:
    """The text of a reply; NoReply if it is none."""
    if isinstance(reply, NoReply):
        raise reply
    if isinstance(reply, BaseException):
        raise NoReply(f"gave no reply: {describe(reply)}")
    try:
        text, _ = reply
    except (TypeError, ValueError):
        text = None
    if not isinstance(text, str):
        raise NoReply("returned a reply that is no pair of a text and probabilities")
    return text


def decided(number: int, reply: Reply) -> bool:
    """The decision about the criterion of this number."""
    decision = decision_of(text_of(reply))
    if decision is None:
        raise NoReply(f"said neither YES nor NO about criterion {number}")
    return decision
