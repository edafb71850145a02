"""Direct preference optimisation (arXiv 2305.18290)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import DPO
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def dpo() -> RunConfig:
    """Preferred answers become more likely than the others of their pairs, relative to the model of the
    start. Other losses: objective.policy.loss=ipo, simpo, ..., and kto for answers with a label."""
    return RunConfig(
        recipe="dpo",
        advantage={},
        objective={"policy": Term(DPO(beta=0.1))},
        rows=GivenText(form="pairs"),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=1e-4)), reference="frozen"),
    )
