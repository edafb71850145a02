"""What the functions of the package return."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from menon.errors import nearest
from menon.record.heartbeat import Heartbeat


class NotThere(KeyError):
    """A number was asked for that a table lacks. The text says why, and what there is."""

    def __str__(self) -> str:
        return str(self.args[0])


class Numbers(dict[str, Any]):
    """A dictionary of numbers by name that says why one is not there.

    >>> Numbers(reward=0.7)["rewards"]
    Traceback (most recent call last):
    menon.results.NotThere: there is no 'rewards'; did you mean 'reward'?
    """

    def __missing__(self, name: str) -> Any:
        inside = [key for key, value in self.items() if isinstance(value, Mapping) and name in value]
        if inside:
            raise NotThere(f"there is no '{name}' here; it is in ['{inside[-1]}']['{name}']")
        if str(name).startswith(("accuracy", "best_accuracy", "maj_at_8")) and "reward" in self:
            raise NotThere(
                f"'{name}' is not known, because the reward does not say which answers are right; take "
                "['reward'], or let it return {'score': ..., 'acc': 0 or 1}"
            )
        raise NotThere(f"there is no '{name}'{nearest(str(name), self)}")


def with_reasons(table: Mapping[str, Any]) -> Numbers:
    """A report, or the line of a run, whose evaluations say why a number is not there."""
    inner = {name: table[name] for name in ("before", "after") if isinstance(table.get(name), Mapping)}
    return Numbers({**table, **{name: Numbers(numbers) for name, numbers in inner.items()}})


class Evaluation(TypedDict, total=False):
    """Numbers of the held-out questions. A number that the run could not know is absent or None."""

    accuracy: float | None
    """Share of right answers at temperature 1."""
    accuracy_low: float
    """Ends of the 95 % interval over the questions."""
    accuracy_high: float
    reward: float | None
    """Mean reward at temperature 1."""
    reward_low: float
    reward_high: float
    n: int
    """Questions."""
    failed: int
    """Answers that could not be graded; no number includes them."""
    mean_length: float
    """Tokens of an answer."""
    entropy: float
    """Nats per token."""
    best_accuracy: float
    """The highest accuracy over temperatures."""
    best_temperature: float
    accuracy_at: dict[str, float]
    """Temperature -> accuracy."""
    maj_at_8: float
    """Accuracy of a vote of eight answers."""
    probe_n: int
    """Questions of best_accuracy and maj_at_8."""
    working_share: float
    """Share of answers that show working, where the task can tell."""
    reflection_share: float


class Drift(TypedDict, total=False):
    """How far the trained model is from the start (docs/report.md)."""

    answers: int
    step: int
    sequence_kl: float
    """KL(trained || start) in nats an answer."""
    first_token_kl: float
    first_token_share: float
    per_position: list[float]
    reach: list[float]
    back: dict[str, Any]
    """The same for KL(start || trained)."""


class Report(TypedDict):
    """The report of a run: report.json."""

    steps: int
    """Steps done."""
    wall_s: float
    """Seconds of all sessions."""
    generated_tokens: int
    """Tokens that the policy wrote in the steps."""
    before: Evaluation | None
    """The held-out questions before the first step."""
    after: Evaluation | None
    """The same after the last step; None if the run was stopped before it."""
    warnings: list[str]
    """What the run was warned of."""
    left_out: NotRequired[dict[str, int]]
    """Rows of given text that were not learned from, by reason."""
    minutes: NotRequired[float]
    """The budget that ended the run before its last step."""
    verdict: NotRequired[dict[str, Any]]
    """Whether it learned: `found`, the difference of the held-out questions with its interval, and all of it
    as a `sentence` (`menon.study.verdict`)."""
    drift: NotRequired[Drift]


class RunLine(TypedDict):
    """A run in a list."""

    run: str
    """The name of its folder."""
    path: str
    recipe: str | None
    model: str | None
    seed: int | None
    step: int
    """Steps done, of `steps`."""
    steps: int | None
    state: str
    """finished, stopped, running; damaged: its run.json cannot be read; newer: a later menon wrote it."""
    before: Evaluation
    """The evaluation before the first step; {} if there is none."""
    after: Evaluation
    """The last evaluation after a step; {} if there is none."""
    after_step: int | None
    """The step that it followed."""
    training: tuple[str, float] | None
    """The accuracy or reward of the last step, in training: its name and the number."""
    minutes: float | None
    warnings: list[str]
    """Signs that nothing was learned, each once."""
    differs: dict[str, Any]
    """The settings that are not the same in all runs of the list, by their short names."""
    heartbeat: Heartbeat | None
    """What each worker process has to do, or last had to do, if the run died; None: it has none, or has
    ended in order."""


EvalNumbers = dict[str, Any]
"""Numbers of an evaluation by name, intervals as [low, high]."""


class DrawLine(TypedDict):
    """One draw of `menon.posterior`. `question` and `answer` are the columns that `menon train sft data=FILE`
    reads."""

    row: int
    """The row of the question."""
    question: str
    answer: str
    """The text that was drawn."""
    gold: str | None
    """The right answer, if the questions have one."""
    tokens: list[int]
    reward: float
    acc: float | None
    """1 for a right answer, 0 for another; None: not known."""
    weight: float
    """Its share of the draws to its question."""
    chain: int
    """Number of the chain, or of the draw."""
    step: int
    """Moves of its chain before it, or the number of the answer that was taken."""


@dataclass(frozen=True)
class Posterior:
    """What `menon.posterior` returns."""

    numbers: Numbers
    """reward, accuracy, length and behaviours of the draws; those of the model's own answers as prior_reward
    and so on; those of the method (docs/posterior.md); and `out`, the file of the draws."""
    draws: list[DrawLine]
