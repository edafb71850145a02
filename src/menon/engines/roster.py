"""Which model has which role in a host, which of them learn, and which have to be saved."""

from collections.abc import Sequence

import torch
from torch import Tensor

from menon.engines.protocols import Learner, Models, Scorer, check_same_model
from menon.engines.stored_models import Stored
from menon.errors import UserError
from menon.update.host import Ask


class Roster:
    """The models of a host by role. Two roles may be one model."""

    def __init__(self, models: Models) -> None:
        self.models = dict(models)
        self.followers: set[str] = set()
        """Roles whose weights have followed another model. Other roles that do not learn are not saved,
        because the start gives their weights again."""

    def model(self, role: str) -> Scorer:
        if role not in self.models:
            raise UserError(f"this run has no {role} model; set {role} in the configuration")
        return self.models[role]

    def learner(self, role: str) -> Learner:
        model = self.model(role)
        if not isinstance(model, Learner):
            raise UserError(
                f"the {role} model cannot learn; give it an optimiser or take its terms out of the objective"
            )
        return model

    def learners(self) -> dict[str, Learner]:
        """Every model that learns, once, by the first of its roles."""
        found: dict[str, Learner] = {}
        for role, model in sorted(self.models.items(), key=lambda item: (item[0] != "policy", item[0])):
            if isinstance(model, Learner) and not any(model is other for other in found.values()):
                found[role] = model
        return found

    def kept(self) -> dict[str, Scorer]:
        """The models whose weights have changed since the start, by role."""
        return {**self.learners(), **{role: self.models[role] for role in sorted(self.followers)}}

    def by_model(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """What each model is asked for."""
        found: dict[int, list[Ask]] = {}
        for ask in asks:
            found.setdefault(id(self.model(ask.role)), []).append(ask)
        return list(found.values())

    @torch.no_grad()
    def follow(self, role: str, leader: str, rate: float) -> None:
        """Moves the weights in place. Weights that only the leader has (a value head) are skipped."""
        ahead = self.model(leader).weights()
        for name, weight in self.model(role).weights().items():
            if rate == 1:
                weight.copy_(ahead[name])
            else:
                weight.lerp_(ahead[name].to(weight), rate)
        self.followers.add(role)

    @torch.no_grad()
    def take(self, stored: Stored) -> None:
        """Takes a checkpoint's weights and states. UserError if it was written by other models."""
        if missing := sorted(self.learners().keys() - stored.states.keys()):
            raise UserError(
                f"the checkpoint holds no {missing[0]} that learned; load it with the models it was made of"
            )
        for role, weights in stored.weights.items():
            if role in stored.states:
                self.learner(role).load(weights, stored.states[role])
                continue
            follower = self.model(role).weights()
            check_same_model(follower, weights)
            for name, weight in follower.items():
                self.put(weight, weights[name])
            self.followers.add(role)

    def put(self, weight: Tensor, given: Tensor) -> None:
        """Writes numbers into a weight."""
        weight.copy_(given)
