"""What a stored step is replayed under: the run's own configuration, with other parts in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from menon.assembly.build import plan_of
from menon.assembly.trust import check_allowed, named_in, remember_given, without_word
from menon.config import RunConfig, around_of, changed, setup_of
from menon.errors import UserError
from menon.old_formats import settings_as_begun
from menon.recipes import ONLINE, RECIPES, recipe
from menon.record.reader import RunView
from menon.settings import Tree, leaves, plain_data, read
from menon.step import Plan

REPLAYED = (
    *("arrange", "advantage", "objective", "models.critic", "models.reference"),
    *("models.policy.old", "models.policy.updates_per_step"),
)
"""What a replay may change; all else decides which text is there, or how far an update moves the weights."""
UNREAD = ("data", "heldout_data", "task", "environment", "reward", "columns")
"""Settings of a source that no part of an update reads, so that no code of theirs is loaded."""


@dataclass(frozen=True)
class Algorithm:
    """A configuration as a replay uses it: without questions and rewards."""

    config: RunConfig
    in_turns: bool = False
    """An environment answered the policy, and may have rewarded single turns."""

    @staticmethod
    def of_run(view: RunView, word: Any = None, code: bool = True) -> "Algorithm":
        """That of a run. UserError: another library trained it, it learned from given text, or it brings code
        that the user has not named (`assembly.trust`), unless the `word` allows it. Without `code` none is
        loaded, known or not."""
        refuse_imported(view)
        tree = settings_as_begun(view.settings)
        if tree.get("rows") is not None:
            raise UserError(
                f"{view.path} learned from given text, and the record keeps only answers that a policy "
                "wrote; name a run that asks questions"
            )
        source = tree.get("source") or {}
        kept = {name: value for name, value in source.items() if name not in UNREAD}
        tree = tree | {"source": kept, "own_code": {}}
        if not code:
            refuse_code(tree, f"{view.path} has a part of your own")
        check_allowed(tree, view.layout.about, word)
        return Algorithm(read(RunConfig, tree), in_turns=source.get("environment") is not None)

    def changed(self, name: str | None, changes: Sequence[Tree]) -> "Algorithm":
        """This one with the credit and objective of a recipe, if one is named, and then with settings.
        UserError: parts that do not fit the run, or a setting that a replay cannot change."""
        base = self if name is None else self.with_recipe(name)
        try:
            other = replace(base, config=changed(base.config, *changes))
        except UserError as error:
            raise UserError(f"this step cannot be replayed so: {error}") from error
        places = [place for place in other.differences(base) if not may_change(place)]
        if places:
            raise UserError(
                f"a replay changes credit, loss, aggregation, correction and selection, and {places[0]} is "
                "none of them; leave it out, or train with it"
            )
        return other

    def with_recipe(self, name: str) -> "Algorithm":
        """This one with the parts of a recipe: credit, objective, arrangement, whose log-probs the ratios
        divide by, and its critic and reference. The number of updates stays, so that both have the same
        mini-batches."""
        made, models = recipe(name), self.config.models
        if name not in ONLINE:
            raise UserError(
                f"{name} learns from {'a teacher' if made.models.taught else 'given text'}, and a replay has "
                f"the answers of one step; choose another recipe, like {', '.join(list(RECIPES)[:3])}"
            )
        critic = made.models.critic or models.critic
        if critic is not None and critic.shared_trunk:
            critic = replace(critic, updates_per_step=models.policy.updates_per_step)
        reference = models.reference if made.models.reference == "none" else made.models.reference
        policy = replace(models.policy, old=made.models.policy.old, natural=None)
        # A critic whose estimator has gone would learn returns that nothing gives.
        if made.models.critic is None and not any(writes_returns(part) for part in made.advantage.values()):
            critic = None
        try:
            config = replace(
                self.config,
                arrange=made.arrange,
                advantage=made.advantage,
                objective=made.objective,
                models=replace(models, policy=policy, critic=critic, reference=reference),
            )
        except UserError as error:
            raise UserError(f"{name} cannot be replayed on this step: {error}") from error
        return replace(self, config=config)

    def differences(self, other: "Algorithm") -> dict[str, list[Any]]:
        """The settings that differ, by their dotted names: the other's value and this one's."""
        before, after = (dict(leaves(plain_data(one.config))) for one in (other, self))
        return {
            place: [before.get(place), after.get(place)]
            for place in dict.fromkeys((*before, *after))
            if before.get(place) != after.get(place)
        }

    @property
    def plan(self) -> Plan:
        """What it does in every step; no model follows another."""
        config = self.config
        around = around_of(config.source, config.control.seed)
        made = plan_of(setup_of(config), around, config.models, config.control)
        return replace(made, reference=None, teacher_rate=0.0, record_updates=False)

    @property
    def changes_reward(self) -> bool:
        """Whether a part of the advantage stage changes rewards, or may."""
        return any(
            "reward" in getattr(part, "writes", ("reward",)) for part in self.config.advantage.values()
        )

    @property
    def arranges(self) -> bool:
        return bool(self.config.arrange)

    def coefficient(self, name: str) -> float:
        """Of a term, before any controller; those of the critic after `critic.`."""
        critic = self.config.models.critic
        terms = {**self.config.objective}
        if critic is not None:
            terms |= critic.objective | {f"critic.{own}": term for own, term in critic.objective.items()}
        return float(terms[name].coef)


def refuse_imported(view: RunView) -> None:
    """UserError if the run was imported. A dump has the text, and of some libraries log-probs and advantages,
    but no format says how the updates used them, so the run's own side of a replay would be guessed."""
    kinds = view.imported.get("kinds") or ("another library",)
    if view.imported:
        raise UserError(
            f"{view.path} was imported from {' and '.join(map(str, kinds))}, whose dump does not say which "
            "credit, loss, aggregation and mini-batches the training used, so there is nothing to replay; "
            "name a run that menon trained, with record=full"
        )


def refuse_code(tree: Any, what: str) -> None:
    """UserError if settings name code or servers; `what` begins the sentence."""
    if named := next(named_in(tree), None):
        raise UserError(
            f"{what}: it {named.does}, and the page runs no code; replay it by `menon replay` on the command "
            "line"
        )


def writes_returns(part: Any) -> bool:
    return "ret" in getattr(part, "writes", ())


def may_change(place: str) -> bool:
    return any(place == name or place.startswith(f"{name}.") for name in REPLAYED)


def named_by_user(changes: Sequence[Tree]) -> tuple[list[Tree], Any]:
    """Settings of the user's own and the word `own_code` among them. Code that they name is remembered as
    named."""
    rest = [without_word(one)[0] for one in changes]
    word = next((one["own_code"] for one in changes if "own_code" in one), None)
    remember_given(*rest)
    return rest, word
