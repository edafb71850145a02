"""The settings of `menon eval`, and the file of results that it writes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from menon.errors import OnBad, UserError, at_least
from menon.eval.run import Item, plain_item, read_item
from menon.eval.sets import find_set
from menon.parts import ENVIRONMENT, TASK
from menon.prompts.few_shot import FewShot
from menon.prompts.reader import Columns
from menon.prompts.tasks import Task as TaskPart
from menon.prompts.tasks import task_name
from menon.record import disk
from menon.reward.parts import RewardPart
from menon.rollout.environments import EnvironmentPart
from menon.rollout.turns import GradedText
from menon.settings import FreeSettings, choice, choice_or_else
from menon.types import Sampling

Task = Annotated[TaskPart, choice(TaskPart, TASK)]
Environment = Annotated[EnvironmentPart, choice(EnvironmentPart, ENVIRONMENT)]
Reward = Annotated[RewardPart | str | Callable[..., Any] | None, choice_or_else(RewardPart, named=False)]
FORMAT = "menon-evaluation-1"


@dataclass(frozen=True)
class EvalConfig:
    """Everything that decides an evaluation."""

    model: str = "base"
    """"base" or "search_base" (built in), a model folder, a run folder (its newest checkpoint), or a name on
    the Hugging Face hub."""
    task: Task | None = None
    """A built-in task, or your own dataclass, file.py:Class; its held-out questions are asked."""
    data: str | None = None
    """Questions and answers: a JSONL, JSON, CSV or Parquet file, a folder of the library datasets, or
    hub:NAME."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of `data` hold question and answer, where their names do not say so."""
    set: str | None = None
    """A public set by name; `path` says where its file is."""
    path: str | None = None
    """The set's file, or a folder with it."""
    run: str | None = None
    """A run folder: settings that are not given here are those of this run, and its held-out questions are
    asked if no others are named. Default: the run that the model comes from."""
    reward: Reward = None
    """math, choice, numeric, code, instructions, exact, a function (file.py:name), or a table with the kind
    of a run's reward. Default: that of the run, task or set, and exact for data."""
    template: str | None = None
    """A template by name, or text with {q} for the question. Default: that of the run, or the set's own, else
    none."""
    few_shot: FewShot = field(default_factory=FewShot)
    """What stands before the question: an instruction and worked examples. Default: that of the run."""
    environment: Environment | None = None
    """The environment that answers the policy, turn by turn; null: none. Default: that of the run. Without
    other questions it asks its own if it has any."""
    max_turns: int = 16
    """Most turns of an episode with an environment."""
    graded_text: GradedText = "policy"
    """What the reward reads of an answer in turns: what the policy wrote, or with `all` also the
    observations."""
    template_arguments: FreeSettings = field(default_factory=dict)
    """What the model's chat template gets besides the messages and a row's `tools`, like enable_thinking or
    documents."""
    n: int | None = None
    """How many questions; default: 200 of a task, all of a file."""
    k: int = 1
    """The k of pass@k and maj@k."""
    samples: int | None = None
    """Answers to each question; default: k. With more than k the estimates are better."""
    temperature: float = 1.0
    """Temperature of the answers; 0: always the most probable token."""
    forking_temperature: float | None = None
    """The temperature, instead of `temperature`, of tokens whose entropy at temperature 1 is above
    `entropy_threshold`."""
    entropy_threshold: float = Sampling.entropy_threshold
    """In nats; see `forking_temperature`."""
    top_p: float = 1.0
    """Answers are drawn from the likeliest tokens that hold this much of the probability."""
    max_new_tokens: int | None = None
    """Most tokens of an answer. Default: that of the run, or the set's own, or 96 for a built-in model, else
    what the model's context leaves beside the longest prompt, at most 1,024."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer, besides the end-of-text token; without any, those of the template (orz has
    some)."""
    keep_special_tokens: bool = False
    """Special tokens stay in the text that rewards read, all but the end-of-text token that ends an
    answer."""
    seed: int = 0
    """Seed of the answers and of the intervals."""
    on_bad: OnBad = "stop"
    """Rows that cannot be used: do not start, or leave them out and count them."""
    slots: int = 256
    """Answers that are written at the same time. Affects memory and speed only."""
    threads: int | None = None
    """Without a number as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Dtype of the weights."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    out: str = ""
    """The file of results."""

    def __post_init__(self) -> None:
        named = [name for name in ("task", "data", "set") if getattr(self, name) is not None]
        if len(named) > 1:
            raise UserError(
                f"{' and '.join(named)} are both given; questions come from one of them, so leave the "
                "other out"
            )
        if self.set is not None and self.path is None:
            find_set(self.set)  # a misspelt name is said first
            raise UserError(
                f"the set {self.set} needs its file: set path= to it, or to a folder that holds it"
            )
        if self.columns != Columns() and self.data is None:
            raise UserError(
                "columns says how to read data, and none is given; give data, or leave columns out"
            )
        if self.path is not None and self.set is None:
            raise UserError(
                "path is given without set; name the set, like set=gsm8k, or use data= for a file of your own"
            )
        for name in ("n", "k", "samples", "slots", "max_new_tokens", "max_turns"):
            if (value := getattr(self, name)) is not None:
                at_least(1, name, value)
        at_least(0, "seed", self.seed)
        if self.samples is not None and self.samples < self.k:
            raise UserError(
                f"pass@{self.k} needs {self.k} samples of each question, and samples is {self.samples}; "
                "raise it or lower k"
            )
        if self.temperature == 0 and not self.forking_temperature and self.per_question > 1:
            raise UserError(
                "at temperature 0 all samples of a question are the same text; use k=1, or a temperature "
                "above 0"
            )

    @property
    def per_question(self) -> int:
        return self.k if self.samples is None else self.samples

    @property
    def source(self) -> str:
        """A short name of the questions' source."""
        return self.set or self.data or (task_name(self.task) if self.task else self.of_its_own)

    @property
    def of_its_own(self) -> str:
        """The source where no questions are named: a run, an environment, or the default task."""
        own = self.environment if hasattr(self.environment, "rows") else None
        return self.run or (task_name(None) if own is None else str(getattr(own, "kind", type(own).__name__)))


def write_result(
    path: Path, settings: Mapping[str, Any], about: Mapping[str, Any], numbers: Any, items: Sequence[Item]
) -> None:
    """Writes one JSON file with the settings, the model, the numbers, and every sample's verdict, so that two
    results can be compared."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {"format": FORMAT, "settings": dict(settings), **about, "numbers": numbers}
        lines = ",\n".join(f"  {json.dumps(plain_item(item), allow_nan=False)}" for item in items)
        text = (
            json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
            + f',\n "items": [\n{lines}\n ]\n}}\n'
        )
        disk.write(path, text.encode())
    except OSError as error:
        raise UserError(
            f"the result {path} cannot be written ({disk.cause(error)}); set out= to another file"
        ) from None


def read_result(path: Path) -> tuple[dict[str, Any], list[Item]]:
    """The contents of a result file without its items, and the items. UserError if `menon eval` did not write
    it."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] != FORMAT:
            raise ValueError
        items = [read_item(plain) for plain in result.pop("items")]
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; make one with `menon eval MODEL ... out={path}`") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is no result of `menon eval`, or damaged; make it again") from None
    if not items:
        raise UserError(f"{path} holds no question; make it again with `menon eval`")
    return result, items
