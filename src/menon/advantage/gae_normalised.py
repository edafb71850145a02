"""GAE with a critic that predicts normalised returns (ReaLHF; PopArt, arXiv 1602.07714, without its rescaled
head)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon.advantage.gae import GAE, check_fractions
from menon.batch import Batch
from menon.errors import UserError
from menon.moments import Moments, mean_and_deviation, nothing_seen, remembered


@dataclass(frozen=True)
class NormalisedGAE:
    """V = mean + std v for the critic's v; GAE on V; the critic learns (ret - mean) / std, so `value` and
    `ret` are on one scale.

    mean and std = sqrt(variance + eps) are those of the returns of all trained tokens so far: moments m <-
    decay m + (1 - decay) (this step's), corrected for their start at 0; values are read with those before the
    step, targets made with those after it. Its state is these moments. Before the first returns are seen, V =
    v. Edge cases as for `GAE`.
    """

    gamma: float = 1.0
    """Discount of later rewards, per token; 1: none."""
    lam: float = 1.0
    """Weight of later steps in GAE; 1: the outcome minus the value."""
    bootstrap_truncated: bool = False
    """Put the critic's value where a truncated answer was cut, instead of 0."""
    decay: float = 0.99995
    """Weight of earlier steps in the running moments of the returns."""
    eps: float = 1e-5
    """Added to the variance of the returns."""
    kind: Literal["gae_normalised"] = "gae_normalised"
    writes: ClassVar[tuple[str, ...]] = ("advantage", "ret")
    returns_by: ClassVar[str] = "lam"
    """The setting that is the lambda of the returns."""

    def __post_init__(self) -> None:
        check_fractions(self, "gamma", "lam")
        if not 0 <= self.decay < 1 or self.eps <= 0:
            raise UserError(
                f"decay {self.decay} and eps {self.eps} of NormalisedGAE: set decay from 0 to below 1, "
                "and eps above 0"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return self._plain.reads

    @property
    def _plain(self) -> GAE:
        return GAE(self.gamma, self.lam, self.bootstrap_truncated)

    def init(self) -> Moments:
        return nothing_seen()

    def __call__(self, batch: Batch, state: Moments) -> tuple[Batch, Moments]:
        mean, std = mean_and_deviation(state, self.eps)
        value, after = batch.need("value", self), batch.value_after
        raw = replace(
            batch, value=mean + std * value, value_after=None if after is None else mean + std * after
        )
        credited = self._plain(raw)
        assert credited.ret is not None
        returns = credited.ret[batch.trained].double()
        if not len(returns):
            return replace(credited, value=value, value_after=after), state
        state = remembered(state, returns, self.decay)
        mean, std = mean_and_deviation(state, self.eps)
        return replace(credited, value=value, value_after=after, ret=(credited.ret - mean) / std), state
