"""Checks that every column which the parts of a run read is filled: one walk over the parts, in their order.

A column is filled by the rollout, by a model that scores the text, or by a part of the advantage stage. A
column that a part reads and nothing before it fills is refused, and so is a second part that would fill a
column again.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, get_args

from menon.batch import STEERS, columns_per
from menon.errors import UserError
from menon.loss.aggregation import mean_of
from menon.parts import Around
from menon.rollout import RolloutPart
from menon.rollout.protocols import OPTIONAL
from menon.types import Unit
from menon.update.protocols import NEEDS, VALUE, Head, Hidden, Inside, Need, Reduction
from menon.update.scoring import ANSWERED, ASKS
from menon.user_code import is_own, misuse

TEXT = frozenset({"reward", "behaviour_logp", "version"})
"""Columns that every rollout fills."""
GIVEN = frozenset({"reward"})
"""Columns that given text fills; pairs fill `pair` too."""


class CriticSettings(Protocol):
    """The settings of a critic that are read here."""

    @property
    def objective(self) -> Mapping[str, Any]: ...
    @property
    def updates_per_step(self) -> int: ...
    @property
    def pretrain_steps(self) -> int: ...
    @property
    def shared_trunk(self) -> bool: ...


@dataclass(frozen=True)
class Setup:
    """The parts of a run, and everything else that decides whether they work together."""

    rollout: Any
    around: Around
    advantage: Mapping[str, Any]
    objective: Mapping[str, Any]
    critic: CriticSettings | None = None
    reference: bool = False
    """There is a reference model."""
    teacher: bool = False
    """There is a teacher."""
    hints: bool = False
    """It reads hints that are made of a step's answers."""
    old_is_behaviour: bool = False
    """The sampler's log-probs are taken for those of the old policy."""
    arrange: Mapping[str, Any] = field(default_factory=dict)
    updates_per_step: int = 1
    natural: bool = False
    """The policy is moved by natural gradients."""
    exact: bool = False
    """Log-probs are over the tokens that top-k and top-p kept."""
    head: str = ""
    """The name of the policy's head; "": it has none."""
    environment: Any = None
    task: Any = None
    given: frozenset[str] = TEXT | OPTIONAL
    """Columns that are there besides those that the rollout writes: what every text has, and what the sampler
    gives besides."""

    def objectives(self) -> dict[str, Mapping[str, Any]]:
        """The objectives by their place in the configuration."""
        critic = {} if self.critic is None else {"critic.objective": self.critic.objective}
        return {"objective": self.objective, **critic}

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Every part with its place in the configuration, in the order of a step."""
        single = {"rollout": self.rollout, "environment": self.environment, "task": self.task}
        yield from ((name, part) for name, part in single.items() if part is not None)
        yield from ((f"arrange.{name}", part) for name, part in self.arrange.items())
        yield from ((f"advantage.{name}", part) for name, part in self.advantage.items())
        for where, objective in self.objectives().items():
            for name, term in objective.items():
                share = mean_of(term.loss) if term.share is None else term.share
                pieces = [("loss", term.loss), ("share", share), ("select", term.select)]
                pieces += [("correction", correction) for correction in term.correction]
                yield from ((f"{where}.{name}.{what}", part) for what, part in pieces if part is not None)


def needs_of(loss: Any) -> tuple[Need, ...]:
    """What a loss needs of its forward pass."""
    needs: tuple[Need, ...] = getattr(loss, "needs", NEEDS)
    return needs


def reads_of(part: Any) -> list[str]:
    """Columns that a part reads, including those that its forward pass needs."""
    needs = getattr(part, "needs", ())
    implied = {
        "ref_logp": any(getattr(need, "other", "") == "reference" for need in needs),
        "teacher_logp": any(getattr(need, "other", "") == "teacher" for need in needs),
        "value": VALUE in needs,
        "pair": getattr(part, "unit", "") == "pair",
    }
    return [*(column for column, is_read in implied.items() if is_read), *getattr(part, "reads", ())]


def check_declared(name: str, part: Any) -> None:
    """UserError for a part of the user's whose `unit`, `needs`, `reads` or `writes` cannot be read."""
    for attribute in ("needs", "reads", "writes"):
        value = getattr(part, attribute, ())
        if not isinstance(value, tuple | list):
            example = value if isinstance(value, str) else "advantage"
            raise misuse(name, part, f"has {attribute} = {value!r}; write {attribute} = ({example!r},)")
        if attribute != "needs" and not all(isinstance(column, str) for column in value):
            raise misuse(name, part, f"has {attribute} = {value!r}; it holds names of columns")
    unit, units = getattr(part, "unit", "token"), get_args(Unit)
    if unit not in units:
        raise misuse(name, part, f"has unit = {unit!r}; it is one of {', '.join(units)}")
    for need in getattr(part, "needs", ()):
        if not isinstance(need, Head | Hidden | Inside | Reduction) and need not in ("logp", "entropy"):
            raise misuse(
                name,
                part,
                f"needs {need!r}, which a forward pass does not give; it gives 'logp' and 'entropy', and "
                "Head, Hidden and Reduction of menon.update.protocols; columns of the batch go into `reads`",
            )


def estimator(setup: Setup) -> str:
    """The name of the part that sets the advantages which a loss reads, if only one can; else "".

    A part that does not say what it writes may set them.
    """
    losses = [term.loss for objective in setup.objectives().values() for term in objective.values()]
    makers = [
        name
        for name, part in setup.advantage.items()
        if "advantage" in getattr(part, "writes", ("advantage",)) and "advantage" not in reads_of(part)
    ]
    is_read = any("advantage" in reads_of(loss) for loss in losses)
    return makers[0] if is_read and len(makers) == 1 else ""


def check_sampler(setup: Setup, gives: frozenset[str]) -> None:
    """UserError if a part reads a column that the run's sampler, which gives these, does not."""
    check_columns(replace(setup, given=TEXT | gives))


def check_columns(setup: Setup) -> None:
    """UserError unless every column that is read is filled before, by one part, and every part that changes a
    column comes before those that use it."""
    for name, part in setup.parts():
        if "." in name and is_own(part):  # a part of the advantage stage or of an objective
            check_declared(name, part)
    models = {
        "policy": True,
        "reference": setup.reference,
        "critic": setup.critic is not None,
        "teacher": setup.teacher,
        ANSWERED: setup.rollout is not None,
    }
    filled = dict.fromkeys(setup.given, "")
    filled |= {column: "" for column, ask in ASKS.items() if models.get(ask.role)}
    filled |= dict.fromkeys(written_by(setup.rollout), "rollout") | ({"hinted": ""} if setup.hints else {})
    used: dict[str, str] = {}
    silent, first = False, f"advantage.{estimator(setup)}"
    for name, part in ((name, part) for name, part in setup.parts() if name != "rollout"):
        in_stage, reads = name.startswith("advantage."), reads_of(part)
        if name == first and not hasattr(part, "reads"):
            reads.append("reward")  # so that a part which changes rewards after it is refused
        writes = getattr(part, "writes", None if in_stage else ())
        for column in reads:
            if column not in filled and not (silent and column not in outside()):
                raise lacking(name, column, changes=column in (writes or ()))
        silent |= writes is None  # it may have filled any column of its stage
        for column in writes or ():
            if filled.get(column) and column not in reads:
                raise twice(name, filled[column], column)
            if column in used:
                raise late(setup, name, used[column], column)
            check_steered(setup, name, column)
            filled[column] = name
        if in_stage:
            used |= {column: name for column in reads if column not in (writes or ()) and column not in used}


def outside() -> set[str]:
    """Columns that no part of the advantage stage can fill."""
    return {*ASKS, "pair", *(column for part in get_args(RolloutPart) for column in written_by(part))}


def written_by(part: Any) -> tuple[str, ...]:
    return getattr(part, "writes", ())


_CHOOSE = "choose a sampler that gives it, or a part that does without"


def rollouts_for(column: str) -> str:
    kinds = [part.kind for part in get_args(RolloutPart) if column in written_by(part)]
    return " or ".join(f"rollout={kind}" for kind in kinds)


def lacking(name: str, column: str, changes: bool) -> UserError:
    """The error for a column that nothing before the part fills; `changes`: the part would change it."""
    critic = "needs a critic, and this run has none; start from the recipe ppo, or give the run a critic"
    values = f"needs sampled values, and this run samples none; set {rollouts_for('state_value')}"
    said = {
        "ref_logp": "compares with a reference, and this run has none; set reference=frozen",
        "teacher_logp": "learns from a teacher, and this run has none; set teacher=FOLDER",
        "hinted": "chooses answers by the teacher's hint, and teacher_question holds neither {right_answer} "
        "nor {feedback}; put one in, or start from the recipe sdpo",
        "value": critic,
        "value_after": critic,
        "baseline": "compares with greedy answers, and this run writes none; set " + rollouts_for("baseline"),
        "state_value": values,
        "state_std": values,
        "state_count": values,
        "parent": "compares a node with its siblings, and this run grows no tree; set "
        f"{rollouts_for('parent')}, or another method",
        **dict.fromkeys(
            ("answer_prob", "answer_prior"),
            "scores the gold answer after what the policy writes, and this run learns from given text; "
            "leave it out",
        ),
        "pair": "learns from pairs, and this run has none; set arrange.pairs=best_worst, start from the "
        "recipe dpo, or choose another loss",
        "advantage": "needs advantages, and no advantage part makes them; set advantage.credit=grpo",
        **{column: f"reads '{column}', which this sampler does not give; {_CHOOSE}" for column in OPTIONAL},
        "ret": "learns returns, and no advantage part makes them; set advantage.credit=gae, or leave the "
        "critic out with critic=null",
    }
    if column == "advantage" and changes:
        return UserError(
            f"{name} changes advantages and so comes after an estimator; put one before it, like grpo"
        )
    known = {*columns_per("token"), *columns_per("sequence"), *ASKS} - TEXT
    near = difflib.get_close_matches(column, sorted(known - {column}), 1) if column not in known else []
    advice = f"did you mean '{near[0]}'?" if near else f"put a part before it that writes '{column}'"
    rest = f"reads '{column}', which nothing before it fills; {advice}"
    return UserError(f"{name} {said.get(column, rest)}")


def twice(name: str, other: str, column: str) -> UserError:
    also = f", as by {other}=null" if other.startswith(("arrange.", "advantage.")) else ""
    return UserError(f"{name} would replace what {other} gave, '{column}'; take one away{also}")


def late(setup: Setup, name: str, user: str, column: str) -> UserError:
    """The error for a part that changes a column which a part before it has used."""
    own, names = name.removeprefix("advantage."), list(setup.advantage)
    order = ", ".join(f"{n}: ..." for n in [own, *(n for n in names if n != own)])
    what = {"reward": "rewards", "advantage": "advantages"}.get(column, f"'{column}'")
    return UserError(
        f"{name} changes {what} and so comes before {user}, which uses them; write advantage='{{{order}}}'"
    )


def check_steered(setup: Setup, name: str, column: str) -> None:
    """UserError unless the objective has the term that this column steers."""
    term = column.removeprefix(STEERS)
    if term != column and not any(term in objective for objective in setup.objectives().values()):
        raise UserError(
            f"{name} steers the term '{term}', which the objective does not have; add objective.{term}.loss"
        )
