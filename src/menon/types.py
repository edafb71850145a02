"""The data that the stages pass to each other: frozen and plain, with numpy arrays for everything per token.

`Prompt -> Request -> Completion -> Rollout -> Graded`; `menon.batch.pack` makes them one flat batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError

Finish = Literal["stop", "length", "abort"]
FINISHES: tuple[Finish, ...] = ("stop", "length", "abort")
"""The code of a finish in `Batch.finish` is its index here. An end-of-text token and a stop string both
finish with `stop`."""

Unit = Literal["token", "sequence", "pair", "group"]
"""What one number of a loss belongs to. A unit is never cut apart."""

Tokens = NDArray[np.int32]
Floats = NDArray[np.float32]


def no_tokens() -> Tokens:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Prompt:
    """One question as the policy reads it.

    >>> Prompt(index=17, tokens=np.array([51, 43, 52, 61], dtype=np.int32), text="3+4=", answer="7").answer
    '7'
    """

    index: int
    """Row in its data set; names the prompt's random stream."""
    tokens: Tokens
    """[P] the rendered prompt."""
    text: str
    """The prompt as text, template included."""
    answer: str | None = None
    """The gold answer, if the data set has one."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Every other column of the row; a reward function gets them by name."""
    teacher: int = 0
    """The number of its teacher, where a run has several."""


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens. Temperature 0 is greedy; its log-probs are those at temperature 1."""

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Draw from the k most probable tokens; 0: from all."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer and stay in its text, like the end-of-text token."""
    forking_temperature: float | None = None
    """Temperature for tokens whose entropy at temperature 1 is above `entropy_threshold` (arXiv 2506.01939).
    The log-prob and entropy of a token are those at its own temperature; a learner has one temperature for
    all tokens, so such text cannot be trained on."""
    entropy_threshold: float = 0.672
    """In nats; the default is the paper's 80th percentile. `menon study entropy` measures that of a run."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens is {self.max_new_tokens}; an answer needs room for at least 1 token"
            )
        if self.temperature < 0:
            raise UserError(f"temperature is {self.temperature}; it must be 0 (greedy) or positive")
        if self.forking_temperature is not None and self.forking_temperature < 0:
            raise UserError(
                f"forking_temperature is {self.forking_temperature}; it must be 0 (greedy), positive, or "
                "left out"
            )
        if self.entropy_threshold < 0:
            raise UserError(f"entropy_threshold is {self.entropy_threshold}; an entropy is at least 0")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it must be above 0 and at most 1 (1 is off)")
        if self.top_k < 0:
            raise UserError(f"top_k is {self.top_k}; it must be 0 (off) or positive")
        if "" in self.stop:
            raise UserError("stop holds an empty string; it would end every answer at once")


@dataclass(frozen=True)
class Request:
    """One answer to write, from the prompt or from a prefix of an answer (a fork)."""

    prompt: Prompt
    sampling: Sampling = Sampling()
    sample: int = 0
    """Number of the answer in its group."""
    visit: int = 0
    """How often this prompt was visited before; with the next three it names the random stream."""
    purpose: str = "train"
    path: tuple[int, ...] = ()
    """Path in a tree, one child number per level."""
    prefix: Tokens = field(default_factory=no_tokens)
    """[K] answer tokens that are already written; sampling goes on after them."""
    seed: int | None = None
    """Seed of its random stream; None: that of the sampler."""
    last: bool = False
    """No later request continues its answer, so the sampler need not keep it."""


@dataclass(frozen=True)
class Completion:
    """What a sampler wrote for one request, as tokens; nothing is tokenised again.

    All arrays are [T], T >= 0 new tokens (without prompt and prefix), the end token included.
    """

    request: Request
    tokens: Tokens
    logp: Floats
    """Raw log-prob at the sampling temperature, before top-p and top-k."""
    log_kept: Floats | None
    """Log of the probability mass that top-p and top-k keep; 0 where they cut nothing. The log-prob of the
    distribution that was drawn from is logp - log_kept. None: the sampler does not give it."""
    entropy: Floats | None
    """Entropy of the raw distribution at that temperature, in nats. None: the sampler does not give it."""
    version: Tokens
    """Version of the weights that wrote the token."""
    finish: Finish
    text: str
    """The answer as a grader reads it: prefix and new tokens decoded together (a character may lie across the
    seam), stop strings kept, special tokens left out."""
    alternatives: Tokens | None = None
    """[T, k] the k most probable tokens at each place, the most probable one first, where the sampler was
    asked for them."""
    alternatives_logp: Floats | None = None
    """[T, k] their raw log-probs at the sampling temperature."""
    kept: Tokens | None = None
    """[T, k] the tokens top-p and top-k kept, then -1; only -1 where nothing was cut. None: not recorded."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of a state's value, from new continuations of it or from the children of a node."""

    value: float
    """The mean of their scores."""
    std: float
    """Population standard deviation of the scores."""
    count: int
    """How many scores it is the mean of; 0: the value was not sampled but follows from another one."""

    @property
    def error(self) -> float:
        """Standard error of the value; 0 if no score was counted."""
        return self.std / self.count**0.5 if self.count else 0.0

    @staticmethod
    def of(scores: Sequence[float]) -> "Estimate":
        """The estimate from at least one score. Equal scores give exactly that score and a deviation of
        exactly 0."""
        values = np.asarray(scores, dtype=np.float64)
        if values.min() == values.max():
            return Estimate(float(values[0]), 0.0, len(values))
        return Estimate(float(values.mean()), float(values.std()), len(values))


@dataclass(frozen=True)
class Example:
    """A sequence to learn from that no sampler of the run wrote: a document, an answer to imitate. Arrays are
    [L]."""

    tokens: Tokens
    is_action: NDArray[np.bool_]
    """True for the tokens that are learned: those of a policy's part of the text, the end token included."""
    group: int = 0
    """Examples with the same number belong to one prompt."""
    score: float = 0.0
    """Its score, for a run that learns from scores."""
    acc: float = float("nan")
    """1 for the preferred answer of a pair or one that is wanted, 0 for the other; NaN: not known."""
    teacher: int = 0
    """The number of its teacher, where a run has several."""


@dataclass(frozen=True)
class Rollout:
    """One whole sequence: prompt, what the policy wrote, and what an environment put between. Arrays are
    [L]."""

    prompt: Prompt
    tokens: Tokens
    is_action: NDArray[np.bool_]
    """True where the policy wrote the token (the end token included), False for prompt and observations."""
    logp: Floats
    """Behaviour log-prob, 0 where the token is not an action; the next two fields likewise."""
    log_kept: Floats | None
    """None, as of the next field: the sampler does not give it."""
    entropy: Floats | None
    version: Tokens
    finish: Finish
    text: str
    """The whole answer, a given prefix and observations included."""
    group: int
    """Rollouts with the same number answer the same visit of the same prompt."""
    sample: int = 0
    visit: int = 0
    """How often the prompt was visited before: with prompt and sample it names the random stream."""
    node: int = -1
    """Number of the node in its tree, -1 outside of trees."""
    parent: int = -1
    """The node that it continues; 0 is the prompt."""
    depth: int = 0
    """Number of nodes from the prompt to this one."""
    states: Mapping[int, Estimate] = field(default_factory=dict)
    """Index of a token -> the sampled value of the state before it, where segments begin."""
    reward: Floats | None = None
    """Rewards of an environment, each on the last token of its turn; None: there are none. `Verdict.score`
    includes them."""
    alternatives: Tokens | None = None
    """[L, k] the k most probable tokens where the policy wrote one, -1 elsewhere; None: not recorded."""
    alternatives_logp: Floats | None = None
    """[L, k] their log-probs, NaN elsewhere."""
    kept: Tokens | None = None
    """[L, k] as in `Completion`, -1 where the policy did not write; None: not recorded."""
    written: str | None = None
    """What a grader reads where it is not `text`: the answer without an environment's observations."""

    @property
    def graded_text(self) -> str:
        """The answer as a grader reads it."""
        return self.text if self.written is None else self.written

    @property
    def graded_tokens(self) -> Tokens:
        """[T] the tokens of `graded_text`."""
        return self.answer_tokens if self.written is None else self.tokens[self.is_action]

    @property
    def answer_tokens(self) -> Tokens:
        """[T] the tokens after the prompt, a given prefix and observations included."""
        return self.tokens[len(self.prompt.tokens) :]

    @property
    def num_actions(self) -> int:
        """Number of tokens that the policy wrote."""
        return int(self.is_action.sum())

    @staticmethod
    def of(completion: Completion, group: int, node: int = -1, parent: int = -1) -> "Rollout":
        """The rollout of a single turn: prompt and prefix are given, the new tokens are actions."""
        request = completion.request
        given = np.concatenate([request.prompt.tokens, request.prefix])
        before = len(given)

        def behind(values: NDArray | None, empty: float = 0) -> Any:
            if values is None:
                return None
            return np.concatenate([np.full((before, *values.shape[1:]), empty, dtype=values.dtype), values])

        return Rollout(
            prompt=request.prompt,
            tokens=np.concatenate([given, completion.tokens]),
            is_action=behind(np.ones(len(completion.tokens), dtype=np.bool_)),
            logp=behind(completion.logp),
            log_kept=behind(completion.log_kept),
            entropy=behind(completion.entropy),
            version=behind(completion.version),
            finish=completion.finish,
            text=completion.text,
            group=group,
            sample=request.sample,
            visit=request.visit,
            node=node,
            parent=parent,
            alternatives=behind(completion.alternatives, -1),
            alternatives_logp=behind(completion.alternatives_logp, np.nan),
            kept=behind(completion.kept, -1),
        )


@dataclass(frozen=True)
class Verdict:
    """The result of grading one answer."""

    score: float
    """The whole reward; NaN when the grader failed (then the answer is left out of statistics and loss, and
    counted)."""
    acc: float
    """Raw correctness, 0 or 1, before any shaping; NaN when unknown."""
    parts: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    """Why the grader failed, in one sentence."""
    guessed: bool = field(default=False, compare=False)
    """The reward said nothing of correctness: `acc` was read off a bool or a number of exactly 0 or 1, or is
    NaN for any other number. `menon.truth` decides whether such an `acc` counts."""
    applies: bool = True
    """False: the reward says nothing of this row (TRL's None). Score and acc are NaN, but nothing failed: the
    answer is left out and counted apart."""
    shows: Mapping[str, float] = field(default_factory=dict)
    """Behaviours that the task recognises, 1 or 0: `working`, `reflection`. They are only reported."""
    feedback: str = field(default="", compare=False)
    """What the grader says of the answer in words, like the error of a failing test; teachers may read it."""


NOT_APPLICABLE = Verdict(float("nan"), float("nan"), applies=False)


@dataclass(frozen=True)
class Graded:
    rollout: Rollout
    verdict: Verdict
    baseline: float | None = None
    """A reward to compare with, from an answer that is not trained on; NaN if its grader failed, None if
    there is none."""
    learn: bool = True
    """False: the answer is only kept for the record: it was written to estimate values, or a part of
    `arrange` left it out."""
    age: int = 0
    """Number of steps since it was written."""


@dataclass(frozen=True)
class Mean:
    """A metric that adds up as a mean: totals and counts add, the quotient is read at the end (0 if nothing
    was counted)."""

    total: Any
    count: Any = 1.0

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)

    def __float__(self) -> float:
        count = float(self.count)
        return float(self.total) / count if count else 0.0


@dataclass(frozen=True)
class Sum:
    total: Any

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total)

    def __float__(self) -> float:
        return float(self.total)


@dataclass(frozen=True)
class Max:
    value: Any
    others: tuple[Any, ...] = ()
    """The values that were added; they are read only at the end, because reading one waits for the GPU."""

    def __add__(self, other: "Max") -> "Max":
        return Max(self.value, (*self.others, other.value, *other.others))

    def __float__(self) -> float:
        return max(float(value) for value in (self.value, *self.others))


@dataclass(frozen=True)
class Deviation:
    """A metric that adds up as a population deviation: sums, sums of squares and counts add (0 if nothing was
    counted).

    >>> float(Deviation(1.0, 1.0) + Deviation(3.0, 9.0))
    1.0
    """

    total: Any
    squares: Any
    count: Any = 1.0

    def __add__(self, other: "Deviation") -> "Deviation":
        return Deviation(self.total + other.total, self.squares + other.squares, self.count + other.count)

    def __float__(self) -> float:
        count = float(self.count)
        if not count:
            return 0.0
        return max(0.0, float(self.squares) / count - (float(self.total) / count) ** 2) ** 0.5


Metric = Mean | Sum | Max | Deviation
"""The type of a metric says how it adds up, so there is no list of which names are averages."""


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Adds metrics by name, in place."""
    for name, metric in more.items():
        into[name] = into[name] + metric if name in into else metric
    return into


@dataclass(frozen=True)
class UpdateRecord:
    """What one term of one update did to the tokens of its minibatch.

    Two sequences of two and one tokens; the update made the first token more likely:

    >>> record = UpdateRecord(
    ...     update=0, model="policy", term="policy", sequence=np.array([4, 7]), offset=np.array([0, 2, 3]),
    ...     weight=np.array([0.5, 0.0, 0.5], dtype=np.float32),
    ...     logp_before=np.array([-1.5, -0.5, -2.0], dtype=np.float32),
    ...     logp_after=np.array([-1.25, -0.5, -2.0], dtype=np.float32),
    ... )
    >>> float((record.logp_after - record.logp_before)[0])
    0.25
    """

    update: int
    """Number of the update in its step, from 0, over all models."""
    model: str
    """Role of the model that was updated."""
    term: str
    """Name of the term in the objective."""
    sequence: NDArray[np.int64]
    """[M] the sequences of the minibatch, as rows of the step's transcript."""
    offset: NDArray[np.int64]
    """[M+1] bounds of the sequences in the arrays below."""
    weight: Floats
    """[n] share of each token in the update's loss, coefficient and corrections included; 0: not in it."""
    logp_before: Floats | None = None
    """[n] log-probs of the policy before the update, at the sampling temperature; below, those after it."""
    logp_after: Floats | None = None
    entropy_before: Floats | None = None
    """[n] entropies of the policy before the update, in nats; None in folders of earlier versions."""


@dataclass(frozen=True)
class StepReport:
    """The results of one step, for the record."""

    step: int
    metrics: Mapping[str, float]
    """Names as in docs/numerics.md, 15."""
    graded: tuple[Graded, ...]
    columns: Mapping[str, NDArray]
    """[N] arrays of the batch, in the order of `graded`: advantage, old_logp, ... where present."""
    offset: NDArray[np.int64]
    """[S+1] bounds of the sequences in `columns`."""
    fingerprint: str = ""
    """Fingerprint of the weights that the sampler holds after the step; "" until they are published."""
    updates: tuple[UpdateRecord, ...] = ()
    """What each update did, where the run records it."""
