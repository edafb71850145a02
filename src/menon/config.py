"""The typed configuration of a run: what recipes return, files and settings change, and run.json keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from menon.advantage import AdvantagePart
from menon.arrange import ArrangePart
from menon.columns import GIVEN, Setup
from menon.control import ControlPart
from menon.correction import CorrectionPart
from menon.engine_settings import Engine
from menon.errors import OnBad, UserError, at_least
from menon.loss import LossPart
from menon.loss.aggregation import AggregationPart
from menon.parts import (
    AGGREGATION,
    ARRANGE,
    CORRECTION,
    CREDIT,
    ENVIRONMENT,
    LOSS,
    REFERENCE,
    ROLLOUT,
    SELECTION,
    TASK,
    Around,
)
from menon.prompts.few_shot import FewShot
from menon.prompts.given import GivenText
from menon.prompts.reader import Columns
from menon.prompts.tasks import ChainSum
from menon.prompts.tasks import Task as TaskPart
from menon.record.trackers import Tracker
from menon.reward.parts import RewardPart
from menon.rollout import RolloutPart
from menon.rollout.environments import EnvironmentPart
from menon.rollout.groups import Groups
from menon.rollout.turns import GradedText
from menon.select import SelectPart
from menon.settings import FreeSettings, choice, choice_or_else, merged, nested, plain_data, read
from menon.shaping import AnswerProbability, ShapingPart
from menon.short_names import spelt_out
from menon.types import Sampling
from menon.update.adapter import Adapter
from menon.update.optimiser import NaturalGradient, Optimiser
from menon.update.reference import ReferencePart
from menon.update.teacher_settings import TeacherSettings
from menon.update.terms import Term
from menon.user_code import is_own, reference_of, source_hash
from menon.validate import check

CreditPart = AdvantagePart | ShapingPart | ControlPart
Credit = Annotated[CreditPart, choice(CreditPart, CREDIT)]
Arrange = Annotated[ArrangePart, choice(ArrangePart, ARRANGE)]
Objective = dict[
    str,
    Term[
        Annotated[LossPart, choice(LossPart, LOSS)],
        Annotated[AggregationPart, choice(AggregationPart, AGGREGATION)],
        Annotated[SelectPart, choice(SelectPart, SELECTION)],
        Annotated[CorrectionPart, choice(CorrectionPart, CORRECTION)],
    ],
]
Rollout = Annotated[RolloutPart, choice(RolloutPart, ROLLOUT)]
Moving = Annotated[ReferencePart, choice(ReferencePart, REFERENCE)]
Task = Annotated[TaskPart, choice(TaskPart, TASK)]
Environment = Annotated[EnvironmentPart, choice(EnvironmentPart, ENVIRONMENT)]
Reward = Annotated[RewardPart | str | Callable[..., Any] | None, choice_or_else(RewardPart)]
BUILT_IN_LENGTH = 96
LONGEST = 1024
"""Most tokens of an answer of a built-in model, and of any other model, where no setting says it."""


@dataclass(frozen=True)
class OnlineSource:
    """What a run learns from: questions, how the policy answers them, and what the answers are worth."""

    data: str | None = None
    """Questions and answers: a file or folder, or hub:NAME. Files are JSONL, JSON, CSV or Parquet, folders
    those of the library datasets."""
    heldout_data: str | None = None
    """Questions of the evaluation; without it a tenth of `data`."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of `data` hold question and answer, where their names do not say so."""
    task: Task | None = None
    """Generated questions, or your own dataclass file.py:Class. Without data it is chain_sum."""
    template: str = "none"
    """A template by name, or text with {q} for the question."""
    few_shot: FewShot = field(default_factory=FewShot)
    """What stands before the question: an instruction and worked examples."""
    template_arguments: FreeSettings = field(default_factory=dict)
    """More arguments of the model's chat template, like enable_thinking."""
    reward: Reward = None
    """A rule, code, a judge, a preference model, or file.py:function. null: the task's, for data exact."""
    on_bad: OnBad = "stop"
    """Rows that cannot be used: do not start, or leave them out."""
    heldout: int = 200
    """Most questions of the evaluation."""
    heldout_seed: int = 0
    """Seed of the held-out questions and answers, in place of `seed`."""
    report_questions: int = 200
    """Questions of the report's best temperature and vote of eight. So many held-out questions are answered
    at temperatures 0, .3 and .6 as well, and eight times at 1, before and after the run, for best_accuracy
    and maj_at_8; 0: none."""
    order: Literal["shuffled", "by_difficulty", "unsolved"] = "shuffled"
    """How questions are drawn. shuffled: each once per epoch; by_difficulty: those answered wrong come more
    often; unsolved: one that was answered right at least nine times in ten is not asked again."""
    prompts_per_step: int = 32
    """Questions that are asked in a step."""
    samples_per_prompt: int = 8
    """Answers to each of them."""
    max_new_tokens: int | None = BUILT_IN_LENGTH
    """Longest answer, in tokens. The default is for the built-in models. For any other model it is null: what
    the context leaves beside the longest prompt, at most 1,024."""
    temperature: float = 1.0
    """Temperature of the answers that are learned from."""
    top_p: float = 1.0
    """Draw from the likeliest tokens with this much of the probability. See `top_k`."""
    top_k: int = 0
    """Draw from this many of the likeliest tokens; 0: from all. See `truncation` too."""
    truncation: Literal["ignored", "exact"] = "ignored"
    """What top_k and top_p mean for learning. ignored: log-probs are over all tokens, a bias of the size of
    `sampling/kept`; exact: over the tokens that could be drawn, which are stored. It needs top_k."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer besides the end-of-text token. Without any, those of the template (orz has
    some)."""
    keep_special_tokens: bool = False
    """Leave special tokens in the text that rewards and environments read. All but the end-of-text token that
    ends an answer stay."""
    rollout: Rollout = field(default_factory=Groups)
    """How answers are written: groups of whole answers, or otherwise."""
    environment: Environment | None = None
    """What answers the policy turn by turn, or your own file.py:Class. `max_new_tokens` then counts
    observations too. Without data and task it asks its own questions, if any, with its own rewards alone."""
    max_turns: int = 16
    """Most turns of an episode with an environment."""
    graded_text: GradedText = "policy"
    """What the reward reads of an answer in turns. policy: what the policy wrote, with a line break in place
    of each observation; all: also the observations. With `all` an environment must print nothing that the
    reward would take for an answer."""
    staleness: int = 0
    """Most versions by which text is older than what learns from it. A separate thread and a sampler with a
    copy of the weights write later steps while earlier ones are learned from, and unfinished answers go on
    with new weights. 0: each step is written by the newest weights."""

    def __post_init__(self) -> None:
        for name in ("heldout", "prompts_per_step", "samples_per_prompt", "max_new_tokens", "max_turns"):
            if (value := getattr(self, name)) is not None:
                at_least(1, name, value)
        at_least(0, "report_questions", self.report_questions)
        at_least(0, "heldout_seed", self.heldout_seed)
        at_least(0, "staleness", self.staleness)
        if self.staleness and self.order != "shuffled":  # a resumed run could not choose as this one does
            raise UserError(
                f"order={self.order} chooses a step's questions by the answers of all steps before it, and "
                f"staleness={self.staleness} writes it before they are known; set staleness=0 or "
                "order=shuffled"
            )
        if self.temperature <= 0:
            raise UserError(
                f"temperature is {self.temperature:g}; training draws answers at random, so it must be "
                "positive"
            )
        if self.data is not None and self.task is not None:
            raise UserError(
                "data and task are both given; questions come from one of them, so leave the other out"
            )
        if self.heldout_data is not None and self.data is None:
            raise UserError("heldout_data is given without data; a task has held-out questions of its own")
        if self.columns != Columns() and self.data is None:
            raise UserError(
                "columns says how to read data, and this run reads none; give it data, or leave columns out"
            )


@dataclass(frozen=True)
class Policy:
    """The model that is trained, and how an update moves it."""

    model: str = "base"
    """A folder, a name on the Hugging Face hub, or base or search_base. The last two are built in."""
    add_tokens: tuple[str, ...] = ()
    """Special tokens that its vocabulary lacks, like <think>. Their embeddings begin at the mean of the
    others."""
    head: Literal["none", "reward"] = "none"
    """reward: a scalar head, which gives every text a score. Checkpoints are then sequence classifiers, for
    `reward.model` of other runs."""
    adapter: Adapter | None = None
    """LoRA: small matrices learn beside frozen weights; null: all weights learn. If `model` is the folder of
    an adapter, it goes on with that one; with null its weights are added to those of its model."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    """AdamW: learning rate, moments, schedule, clipping."""
    natural: NaturalGradient | None = None
    """TRPO's step for the policy instead of the optimiser's; for small models on one device."""
    updates_per_step: int = 1
    """Optimiser steps on the answers of a step; each takes its share of them."""
    old: Literal["trainer", "behaviour"] = "trainer"
    """Whose log-probs the ratios divide by. trainer: those of the trainer before the
    step; behaviour: those of the sampler, which saves a forward pass."""

    def __post_init__(self) -> None:
        at_least(1, "updates_per_step", self.updates_per_step)
        if "" in self.add_tokens or len(set(self.add_tokens)) < len(self.add_tokens):
            raise UserError("add_tokens names a token twice, or an empty one; name each token once")
        if self.adapter is not None and self.add_tokens:
            raise UserError(
                "an adapter leaves the embeddings as they are, so added tokens would never learn; leave "
                "add_tokens out, or set adapter=null"
            )


@dataclass(frozen=True)
class Critic:
    """A value model that starts from the policy's weights and learns beside it."""

    objective: Objective
    """Terms by name, like value: what the critic learns."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    """The same settings as the policy's."""
    updates_per_step: int = 1
    """Optimiser steps on the answers of a step."""
    pretrain_steps: int = 0
    """First steps in which only the critic learns. The answers are those of the untrained policy."""
    init: Literal["zero", "orz"] = "zero"
    """First weights of the value head: 0, or drawn. orz draws as in Open-Reasoner-Zero."""
    shared_trunk: bool = False
    """The critic is a head on the policy's own trunk. Its terms are added to the policy's, in the policy's
    updates and by its optimiser."""

    def __post_init__(self) -> None:
        at_least(1, "critic.updates_per_step", self.updates_per_step)
        at_least(0, "critic.pretrain_steps", self.pretrain_steps)


@dataclass(frozen=True)
class Models(TeacherSettings):
    """The models of a run by role. All start from the policy's weights."""

    policy: Policy = field(default_factory=Policy)
    """The model that is trained."""
    critic: Critic | None = None
    """A value model, for estimators that need one; null: none."""
    reference: Literal["none", "frozen"] = "none"
    """frozen: the policy as it was at the start."""
    reference_update: Moving | None = None
    """How a reference follows the policy; null: not at all."""

    def __post_init__(self) -> None:
        if self.reference_update is not None and self.reference == "none":
            raise UserError("reference_update moves a reference, and this run has none; set reference=frozen")
        super().__post_init__()


@dataclass(frozen=True)
class Control:
    """How long a run is, what it writes, and its random seed."""

    seed: int = 0
    """Seed of every random draw of the run: the same seed gives the same run."""
    out: str = ""
    """The run folder."""
    steps: int = 30
    """Number of training steps, each from prompts to an improved model."""
    minutes: float | None = None
    """Most minutes of a command, its last evaluation included; null: no limit. The run ends before the step
    that would exceed them, and --resume goes on with as many again."""
    save_every: int = 20
    """Steps between checkpoints; 0: only the last one."""
    save_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the model's files in checkpoints; auto: as at the start. That of a built-in model is float32.
    Resumed runs and all commands read the weights that trained: where the files round them, `state` has them
    too."""
    evaluate_every: int = 0
    """Steps between evaluations besides the first and the last; 0: none."""
    stop_without_signal: bool = True
    """Stop after ten steps in a row that taught nothing; false: only warn. These are steps of equal rewards,
    without a gradient, or with skipped updates."""
    tracker: Tracker | None = None
    """Where the numbers are mirrored; null: nowhere."""
    wandb_project: str = "menon"
    """The project of wandb or trackio, or the experiment of MLflow."""
    record: Literal["lean", "full"] = "lean"
    """How much of each token is stored. full: also, for every update and term, each token's weight, the
    policy's log-probs before and after it and entropies before it, and the most probable tokens beside each
    token that was drawn."""

    def __post_init__(self) -> None:
        at_least(1, "steps", self.steps)
        if self.minutes is not None and self.minutes <= 0:
            raise UserError(f"minutes is {self.minutes:g}; give it a positive number, or leave it out")
        for name in ("seed", "save_every", "evaluate_every"):
            at_least(0, name, getattr(self, name))


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run; each setting belongs to the component that uses it.

    A name without dots stands for the setting of that name in the first of `OWNERS` that has one.
    """

    advantage: dict[str, Credit]
    """Credit: parts by name, in the order in which they run."""
    objective: Objective
    """Terms by name, of which an update lowers the sum. Each has loss, share, select, coef and correction."""
    arrange: dict[str, Arrange] = field(default_factory=dict)
    """Which answers of a step are learned from, and which are pairs. Parts by name, in the order in which
    they run."""
    source: OnlineSource = field(default_factory=OnlineSource)
    rows: GivenText | None = None
    """Text to learn from as it stands: SFT and preferences; null: what the policy writes. The questions of
    `source` are then only asked before and after, if it names some; `rows.written_share` learns from answers
    to them too."""
    models: Models = field(default_factory=Models)
    engine: Engine = field(default_factory=Engine)
    control: Control = field(default_factory=Control)
    recipe: str = ""
    scale: Literal["laptop", "paper"] = "laptop"
    """Numbers for the built-in base, or the published ones."""
    own_code: dict[str, str] = field(default_factory=dict)
    """Written by the command: name of each part or function of your own -> the hash of its source."""

    def __post_init__(self) -> None:
        if self.rows is not None and self.arrange:
            raise UserError(
                "arrange chooses among answers that the policy writes, and this run learns from given text; "
                "leave it out"
            )
        check(setup_of(self))
        self.engine.check_whole(self._needs_whole)
        if self.models.policy.head != "none" and self.asks:
            raise UserError(
                "a model with a reward head scores texts and is asked no questions; start from the recipe "
                "reward_model, and leave task, source.data and environment out"
            )
        if self.rows is not None and self.models.teacher_question is not None:
            raise UserError(
                "teacher_question is about questions that the policy answers, and this run learns from given "
                "text; leave it out, or start from the recipe self_distill"
            )

    @property
    def _needs_whole(self) -> dict[str, bool]:
        """What needs a whole model in one process, by its name, and whether this run has it."""
        models, rows = self.models, self.rows
        return {
            "natural": models.policy.natural is not None,
            "teachers (several)": bool(models.teachers),
            "teacher_question": bool(models.teacher_questions),
            "answer_probability": any(isinstance(p, AnswerProbability) for p in self.advantage.values()),
            "negatives": rows is not None and rows.negatives != "none",
        }

    def with_own_code(self) -> "RunConfig":
        """The same with the name of each part or function of the user's -> the hash of its source."""
        reward = self.source.reward
        types = [type(part) for _, part in setup_of(self).parts()]
        names = [reference_of(own) for own in types if is_own(own)]
        if reward is not None and not isinstance(reward, str | RewardPart):
            names.append(reference_of(reward))
        elif isinstance(reward, str) and ":" in reward:
            names.append(reward)
        return replace(self, own_code={name: source_hash(name) for name in names})

    @property
    def asks(self) -> bool:
        """Whether the policy writes answers: to learn from them, or to be evaluated before and after."""
        return self.rows is None or self.names_questions or self.rows.written_share > 0

    @property
    def names_questions(self) -> bool:
        """Whether `source` names its questions, and does not leave them to a default."""
        named = (self.source.data, self.source.task, self.source.environment)
        return any(part is not None for part in named)


OWNERS: tuple[tuple[str, ...], ...] = (
    ("control",),
    ("source",),
    ("models.policy",),
    ("engine",),
    ("arrange", "advantage", "objective"),
    ("models",),
)
"""Where a name without dots is looked up, in this order; places in one group are searched together. The
critic comes last, so that a name means the same with and without a critic."""


def changed(config: RunConfig, *changes: Mapping[str, Any]) -> RunConfig:
    """A recipe's configuration with the settings of files and overrides applied to it, in their order.

    Names may be dotted or short. `null` takes a named part or term away.
    """
    tree = plain_data(config)
    owners = OWNERS if config.rows is None else (("control",), ("rows",), *OWNERS[1:])
    for change in changes:
        tree = merged(tree, spelt_out(nested(change), tree, RunConfig, owners))
    source, critic = tree.get("source"), tree["models"].get("critic")
    if isinstance(critic, dict) and critic.keys() <= {f.name for f in fields(Critic)} - {"objective"}:
        raise UserError("this recipe has no critic to set anything of; take one that has, like ppo")
    if (
        isinstance(source, dict)
        and source.get("data") is None
        and isinstance(task := source.get("task"), dict)
    ):
        source["task"] = {"kind": ChainSum.kind, **task}  # settings alone are those of the default task
    named = ((tree, "arrange"), (tree, "advantage"), (tree, "objective"), (critic, "objective"))
    for table, name in named:
        if isinstance(table, dict) and isinstance(table.get(name), dict):
            table[name] = {key: value for key, value in table[name].items() if value is not None}
    return read(RunConfig, tree)


def around_of(source: OnlineSource, seed: int) -> Around:
    """What a configuration alone says of the program around its parts. Where the model's context will decide
    the length of answers, it is the largest possible one."""
    length = LONGEST if source.max_new_tokens is None else source.max_new_tokens
    sampling = Sampling(length, source.temperature, source.top_p, source.top_k, tuple(source.stop))
    return Around(source.prompts_per_step, source.samples_per_prompt, sampling, seed)


def setup_of(config: RunConfig) -> Setup:
    """Everything that decides whether the parts of a run work together."""
    policy, rows = config.models.policy, config.rows
    given = {} if rows is None else {"given": GIVEN | ({"pair"} if rows.paired else set())}
    return Setup(
        rollout=config.source.rollout if rows is None else None,
        around=around_of(config.source, config.control.seed),
        arrange=config.arrange,
        advantage=config.advantage,
        objective=config.objective,
        critic=config.models.critic,
        reference=config.models.reference != "none",
        teacher=config.models.taught,
        hints=config.models.hints_of_step,
        old_is_behaviour=policy.old == "behaviour",
        updates_per_step=policy.updates_per_step,
        natural=policy.natural is not None,
        exact=rows is None and config.source.truncation == "exact",
        head="" if policy.head == "none" else policy.head,
        environment=config.source.environment,
        task=config.source.task,
        **given,
    )
