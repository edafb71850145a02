"""A residual energy model by persistent contrastive divergence (Tieleman 2008,
doi 10.1145/1390156.1390290)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import ContrastiveDivergence
from menon.loss.aggregation import SequenceMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def contrastive_divergence() -> RunConfig:
    """A scalar head scores given answers above the states of chains that draw from start exp(score) / Z.
    Once both score alike, that is the distribution of the given answers. For small models. Checkpoints are
    for reward=preference, with beta=1."""
    return RunConfig(
        recipe="contrastive_divergence",
        advantage={},
        objective={"policy": Term(ContrastiveDivergence(), SequenceMean())},
        rows=GivenText(negatives="chains"),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), head="reward"), reference="frozen"
        ),
    )
