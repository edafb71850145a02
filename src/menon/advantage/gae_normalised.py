"""GAE with a critic that predicts normalised returns (ReaLHF; PopArt, arXiv 1602.07714, without its rescaled head)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from menon.advantage.gae import GAE, check_fractions
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class NormalisedGAE:
    """V = mean + std v for the critic's v; GAE on V; the critic learns (ret - mean) / std, so `value` and `ret` are on one scale.

    mean and std = sqrt(variance + eps) are those of the returns of all trained tokens so far: moments m <- decay m +
    (1 - decay) (this step's), corrected for their start at 0; values are read with those before the step, targets made with
    those after it. Its memory is the moments. Before the first returns v is V itself. Edge cases as for `GAE`.
    """

    gamma: float = 1.0
    lam: float = 1.0
    bootstrap_truncated: bool = False
    decay: float = 0.99995
    eps: float = 1e-5
    kind: Literal["gae_normalised"] = "gae_normalised"

    def __post_init__(self) -> None:
        check_fractions(self, "gamma", "lam")
        if not 0 <= self.decay < 1 or self.eps <= 0:
            raise UserError(f"decay {self.decay} of NormalisedGAE lies from 0 to below 1, and eps {self.eps} is positive")

    @property
    def reads(self) -> tuple[str, ...]:
        return self._plain.reads

    @property
    def _plain(self) -> GAE:
        return GAE(self.gamma, self.lam, self.bootstrap_truncated)

    def init(self) -> Mapping[str, float]:
        return {"mean": 0.0, "square": 0.0, "weight": 0.0}

    def __call__(self, batch: Batch, state: Mapping[str, float]) -> tuple[Batch, Mapping[str, float]]:
        mean, std = self.scale(state)
        value, after = batch.need("value", self), batch.value_after
        raw = replace(batch, value=mean + std * value, value_after=None if after is None else mean + std * after)
        credited = self._plain(raw)
        assert credited.ret is not None
        returns = credited.ret[batch.trained].double()
        if not len(returns):
            return replace(credited, value=value, value_after=after), state
        seen = {"mean": float(returns.mean()), "square": float(returns.square().mean()), "weight": 1.0}
        state = {name: self.decay * state[name] + (1 - self.decay) * number for name, number in seen.items()}
        mean, std = self.scale(state)
        return replace(credited, value=value, value_after=after, ret=(credited.ret - mean) / std), state

    def scale(self, state: Mapping[str, float]) -> tuple[float, float]:
        """Mean and standard deviation; 0 and 1 before anything was seen."""
        if not state["weight"]:
            return 0.0, 1.0
        mean = state["mean"] / state["weight"]
        return mean, (max(state["square"] / state["weight"] - mean**2, 0.0) + self.eps) ** 0.5
