"""On-policy distillation as a policy gradient: a teacher scores each token that the policy wrote (arXiv
2306.08543, 2306.13649)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """A_t = -coef k_t, k_t = old_logp_t - teacher_logp_t: a token that the teacher finds likelier gains.

    With gamma = 0 a token pays for itself alone. Given its prefix, the expected policy gradient is then
    exactly that of the reverse KL(pi || teacher) of the next token, which k_t estimates from one sample. It
    leaves out that a token leads to other prefixes. With gamma = 1 a token pays for all that follow too,
    A_t = -coef sum over s >= t of k_s. That gradient is the one of the KL of whole answers, and it varies
    more.

    `adds` puts it on top of the advantages of a part before it: reinforcement and distillation in one
    objective. It comes after parts that normalise, and before whitening.
    """

    coef: float = 1.0
    """Factor of the log-ratio."""
    gamma: float = 0.0
    """Discount of later log-ratios; 0: a token pays for its own alone."""
    most: float | None = None
    """Bound on a token's log-ratio, on both sides; null: none."""
    adds: bool = False
    """Add to the advantage that a part before it gave."""
    kind: Literal["teacher"] = "teacher"
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        if self.coef < 0 or not 0 <= self.gamma <= 1:
            raise UserError(
                f"coef {self.coef:g} of Teacher must be 0 or positive, and gamma {self.gamma:g} between "
                "0 and 1"
            )
        if self.most is not None and self.most <= 0:
            raise UserError(
                f"most of Teacher is {self.most:g}; log-ratios are held to +-most, so set it above 0, or null"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("old_logp", "teacher_logp", *(("advantage",) if self.adds else ()))

    def __call__(self, batch: Batch) -> Batch:
        k = ragged.difference(batch.need("old_logp", self), batch.need("teacher_logp", self), batch.trained)
        if self.most is not None:
            k = k.clamp(-self.most, self.most)
        if self.gamma:
            k = place(ragged.return_to_go(*pick(k, batch), self.gamma), batch)
        before = batch.need("advantage", self) if self.adds else torch.zeros_like(k)
        return replace(batch, advantage=torch.where(batch.trained, before - self.coef * k, 0))
