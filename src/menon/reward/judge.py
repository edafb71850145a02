"""A language model as verifier: does what an answer states agree with the reference (arXiv
2503.23829)?"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from menon.errors import UserError
from menon.parts import Around
from menon.reward.batched import NoReply, ask
from menon.reward.code.signatures import Asked
from menon.reward.judge_text import beginning, check_begins, decision_of, final_step, first, is_no_answer
from menon.types import Verdict
from menon.user_code import describe

Reply = tuple[str, Mapping[str, float]] | Exception
"""What the judge wrote, and probabilities of the first token by its text; or an exception that says why this
prompt got no reply."""

Complete = Callable[[Sequence[str]], Sequence[Reply]]
"""Prompts -> one reply each. `Around` makes it from a model folder or a server."""

PLACES = ("{question}", "{final_step}", "{reference}")
REMEMBERED = 100_000
"""How many verdicts are kept; the oldest are dropped first."""


@dataclass(frozen=True)
class Judge:
    """A language model decides whether what the answer states agrees with the gold answer. Binary: R = 1 if
    its decision c is yes, else 0. Soft: R = P if c = yes, 1 - P if c = no.

    P is the probability of the first token that the judge wrote; with `renorm` P(YES) / (P(YES) + P(NO)),
    each over all first tokens that begin the word. c is the first word of the reply after its thought, or of
    the result that it states, in any case; a reply that begins otherwise or says both is unparsable: reward
    0, counted by the part `judge_unparsable`. `acc` is 1 where c is yes.

    The judge sees the question, the reference, and of the answer only the stated result, else the last line
    with a letter or digit, because the reasoning could persuade it to say yes. An answer without such a line
    is wrong and is not sent to the judge, and neither is one that only announces an answer or speaks to the
    judge (`judge_text.is_no_answer`). Equal triples (question, result, reference) are asked once and
    remembered.

    NaN with an error: a row without a reference; a call that raises, takes longer than `time_limit` seconds
    for a batch, or returns something else than one reply per prompt; a soft verdict without a probability in
    [0, 1], or of a reply that does not begin with its decision. These are not remembered.
    """

    model: str | Complete = ""
    """A folder or a name on the hub, run in this process; with `url`, the model's name on the server. From
    Python also a function."""
    url: str = ""
    """Where an OpenAI-compatible server's API begins, like http://127.0.0.1:8000/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key."""
    soft: bool = False
    """The reward is the probability of the decision, not 0 or 1."""
    renorm: bool = False
    """The probability of yes is taken among yes and no alone."""
    prompt: str = ""
    """A file with {question}, {final_step} and {reference}, or a text with them; "": the built-in one."""
    max_new_tokens: int = 16
    """Most tokens of a reply; a judge that thinks first needs room for its thought."""
    batch_size: int = 64
    """Prompts per call."""
    time_limit: float = 120.0
    """Seconds for one batch."""
    kind: Literal["judge"] = "judge"

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError(
                "a judge needs a model: set reward.model to a folder, or to the name of one on the server "
                "at reward.url"
            )
        if holds_a_place(self.prompt):
            check_prompt(self.prompt, "the judge's prompt")
        if self.batch_size < 1 or self.max_new_tokens < 1 or not self.time_limit > 0:
            raise UserError(
                f"a judge's batch_size ({self.batch_size}) and max_new_tokens ({self.max_new_tokens}) must "
                f"be at least 1, its time_limit ({self.time_limit}) positive"
            )
        if self.renorm and not self.soft:
            raise UserError("renorm changes the soft reward only; set soft=true as well, or leave it out")

    def build(self, around: Around) -> "Judge":
        """The judge with its model loaded and the text of its prompt read."""
        prompt = self.text
        if not isinstance(self.model, str):
            return replace(self, prompt=prompt)
        if self.url:
            return replace(
                self,
                prompt=prompt,
                model=around.connect_judge(self.url, self.model, self.key_variable, self.max_new_tokens),
            )
        return replace(
            self, prompt=prompt, model=around.load_judge(self.model, self.renorm, self.max_new_tokens)
        )

    @property
    def complete(self) -> Complete:
        assert not isinstance(self.model, str), "a judge is built before it is asked"
        return self.model

    @cached_property
    def text(self) -> str:
        """The prompt, with the fields that are filled in for each answer."""
        if not self.prompt:
            return own_prompt()
        return self.prompt if holds_a_place(self.prompt) else read_prompt(self.prompt)

    @cached_property
    def memory(self) -> OrderedDict[tuple[str, str, str], Verdict]:
        """Verdicts of triples that were asked, the newest last."""
        return OrderedDict()

    def __call__(
        self, prompt: str, completion: str, answer: str, question: Any = None, **columns: Any
    ) -> Verdict:
        """One answer; `many` is the same for a batch and faster."""
        return self.many([Asked(prompt, completion, answer, {"question": question})])[0]

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers."""
        triples = [triple_of(one) for one in asked]
        wanted = list(dict.fromkeys(t for t in triples if isinstance(t, tuple) and t not in self.memory))
        found: dict[tuple[str, str, str], Verdict] = {}
        for start in range(0, len(wanted), self.batch_size):
            found |= self._ask(wanted[start : start + self.batch_size])
        verdicts = [
            t if isinstance(t, Verdict) else found[t] if t in found else self.memory[t] for t in triples
        ]
        self._remember({t: v for t, v in found.items() if not math.isnan(v.score)})
        return verdicts

    def _ask(self, triples: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], Verdict]:
        try:
            replies = ask(self.complete, [fill(self.text, triple) for triple in triples], self.time_limit)
        except NoReply as error:
            return {triple: failed(error) for triple in triples}
        return {triple: self._verdict(reply) for triple, reply in zip(triples, replies, strict=True)}

    def _verdict(self, reply: Any) -> Verdict:
        if isinstance(reply, BaseException):
            return failed(reply)
        try:
            text, probabilities = reply
        except (TypeError, ValueError):
            text = probabilities = None
        if not isinstance(text, str) or not isinstance(probabilities, Mapping):
            return failed(NoReply("returned a reply that is no pair of a text and probabilities"))
        decision = decision_of(text)
        if decision is None:
            return Verdict(0.0, 0.0, {"judge_unparsable": 1.0})
        correct = float(decision)
        try:
            score = correct if not self.soft else self._soft(decision, text, probabilities)
        except NoReply as error:
            return failed(error)
        return Verdict(score, correct, {"judge_unparsable": 0.0})

    def _soft(self, decision: bool, text: str, probabilities: Mapping[str, float]) -> float:
        if self.renorm:
            check_begins(text, decision)
            yes, no = (beginning(word, probabilities) for word in ("yes", "no"))
            if not yes + no > 0:
                raise NoReply("gave no probability of YES or NO")
            return yes / (yes + no)
        p = first(text, decision, probabilities)
        return p if decision else 1 - p

    def _remember(self, verdicts: Mapping[tuple[str, str, str], Verdict]) -> None:
        for triple, verdict in verdicts.items():
            self.memory[triple] = verdict
            self.memory.move_to_end(triple)
        while len(self.memory) > REMEMBERED:
            self.memory.popitem(last=False)


def failed(error: BaseException) -> Verdict:
    what = str(error) if isinstance(error, NoReply) else f"gave no reply: {describe(error)}"
    return Verdict(math.nan, math.nan, error=f"the judge {what}")


# The prompt


def own_prompt() -> str:
    return (files("menon.reward") / "judge_prompt.txt").read_text(encoding="utf-8")


def read_prompt(path: str | Path) -> str:
    """The user's own prompt; UserError if it cannot be read or lacks a field."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the judge's prompt {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    check_prompt(text, f"the judge's prompt {path}")
    return text


def holds_a_place(text: str) -> bool:
    return any(place in text for place in PLACES)


def check_prompt(text: str, name: str) -> None:
    if missing := [place for place in PLACES if place not in text]:
        raise UserError(
            f"{name} lacks {' and '.join(missing)}; it needs {', '.join(PLACES)}, each where its text goes"
        )


def fill(prompt: str, values: Sequence[str], places: Sequence[str] = PLACES) -> str:
    """Fills all fields in one pass, so that a value that holds the name of a field stays text."""
    texts = dict(zip(places, values, strict=True))
    return re.sub("|".join(map(re.escape, places)), lambda place: texts[place.group()], prompt)


def triple_of(asked: Asked) -> tuple[str, str, str] | Verdict:
    """Question, result and reference; or a verdict if there is nothing to ask the judge."""
    if not asked.answer:
        return Verdict(
            math.nan,
            math.nan,
            error="the judge has no reference answer for this question; give the row an 'answer'",
        )
    step = final_step(asked.prompt, asked.completion)
    if not step or (is_no_answer(step) and not is_no_answer(asked.answer)):
        return Verdict(0.0, 0.0, {"judge_unparsable": 0.0})
    return question_of(asked), step, asked.answer


def question_of(asked: Asked) -> str:
    """The raw question, without the policy's template; of chat messages the last one."""
    question = asked.columns.get("question")
    if isinstance(question, list) and question and isinstance(question[-1], Mapping):
        question = question[-1].get("content")
    return question if isinstance(question, str) else asked.prompt
