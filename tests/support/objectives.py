"""Updates with every kind of part, for the laws about how an update is computed."""

from menon.correction import M2PO, Importance, Reject
from menon.loss.aggregation import (
    Constant,
    PairMean,
    PairMeanTokenMean,
    PromptMean,
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.loss.bradley_terry import BradleyTerry
from menon.loss.clip_cov import ClipCov
from menon.loss.distill import Distill
from menon.loss.dpo import DPO
from menon.loss.dvo import DVO
from menon.loss.entropy_bonus import EntropyBonus
from menon.loss.exact_kl import ExactKL
from menon.loss.geo_mean import GeoMean
from menon.loss.gspo import GSPO
from menon.loss.gspo_token import GSPOToken
from menon.loss.infonca import InfoNCA
from menon.loss.ipo import IPO
from menon.loss.kl import KL
from menon.loss.kl_cov import KLCov
from menon.loss.nll import NLL
from menon.loss.orpo import ORPO
from menon.loss.ppo_clip import PPOClip
from menon.loss.simpo import SimPO
from menon.loss.trajectory_balance import TrajectoryBalance
from menon.loss.value import ValueLoss
from menon.loss.vespo import VESPO
from menon.select.correct import Correct
from menon.select.top_entropy import TopEntropy
from menon.update.terms import Term, Update

POLICY = {
    "policy, KL and value on one trunk: three normalisers": Update(
        {
            "policy": Term(PPOClip(), SequenceMeanTokenMean()),
            "kl": Term(KL("k3"), TokenMean(), coef=0.1),
            "value": Term(ValueLoss(clip=0.2), Constant(length=9), coef=0.5),
        }
    ),
    "constant and prompt means": Update(
        {
            "policy": Term(PPOClip(), Constant(length=9)),
            "entropy": Term(EntropyBonus(), PromptMean(), coef=0.1),
        }
    ),
    "a selection by a whole-update statistic that changes the denominator": Update(
        {
            "policy": Term(PPOClip(), SelectedMean(), TopEntropy(0.3)),
            "nll": Term(NLL(), TokenMean(), coef=0.1),
        }
    ),
    "the same selection that does not": Update({"policy": Term(PPOClip(), TokenMean(), TopEntropy(0.3))}),
    "a sequence is a unit": Update(
        {"policy": Term(GSPO(), SequenceMean()), "kl": Term(KL("k2"), TokenMean(), coef=0.1)}
    ),
    "a pair is a unit": Update({"preference": Term(DPO(beta=0.5), PairMean())}),
    "means over both answers of a pair": Update({"preference": Term(IPO(average=True), PairMean())}),
    "pairs without a reference": Update({"preference": Term(SimPO(), PairMean("prompt"))}),
    "odds of a pair, and the likelihood of its preferred answer": Update(
        {
            "policy": Term(ORPO(lam=0.5), PairMean()),
            "nll": Term(NLL(), PairMeanTokenMean(), Correct()),
        }
    ),
    "a group is a unit": Update({"fit": Term(TrajectoryBalance(beta=0.5), SequenceMean())}),
    "an answer's log-ratio and advantage": Update({"fit": Term(DVO(beta=0.5), SequenceMean())}),
    "a softmax over a group": Update({"fit": Term(InfoNCA(beta=0.5), SequenceMean())}),
    "scores of a pair by another head": Update({"reward": Term(BradleyTerry(0.1, 0.01), PairMean())}),
    "sequence ratios with a loss on every token": Update({"policy": Term(GSPOToken(0.1, 0.1), TokenMean())}),
    "a weight of the whole sequence's ratio": Update({"policy": Term(VESPO(), TokenMean())}),
    "a geometric mean": Update({"policy": Term(GeoMean(0.1, 0.1), SequenceMean())}),
    "a penalty by covariance": Update({"policy": Term(KLCov(fraction=0.2), TokenMean())}),
    "a draw by covariance": Update({"policy": Term(ClipCov(fraction=0.1, low=0.01), TokenMean())}),
    "corrections, by whole-update statistics and whole sequences": Update(
        {
            "policy": Term(
                PPOClip(), TokenMean(), correction=(Importance(normalise=True), M2PO(0.06), Reject(1.5, 0.6))
            ),
            "entropy": Term(EntropyBonus(), TokenMean(), correction=(Importance("sequence"),)),
        }
    ),
    "a teacher's distribution": Update(
        {
            "teacher": Term(Distill("jsd", 0.3, 2.0, True, top_k=3), TokenMean()),
            "nll": Term(NLL(), TokenMean()),
        }
    ),
    "a reduction over the vocabulary": Update(
        {"policy": Term(PPOClip(), TokenMean()), "kl": Term(ExactKL(), SequenceMean(), coef=0.1)}
    ),
}

CRITIC = Update({"value": Term(ValueLoss(clip=0.2), TokenMean())}, model="critic")

AMPLIFIED = {"geo_mean": 2.0, "gspo": 2.0}
"""How much larger the bound is in fp32: the mean log-ratio of an answer is in the gradient of each of its
tokens, so a rounding of one logit moves all of them. Measured: 1.53e-6 on CPUs without AVX-512 (AMD), below
1e-6 on one with it (Zen 4). There either gradient is up to 7.2e-7 from that of fp64, so two that are rounded
in another order may be 1.44e-6 apart. Of all others the largest were 1.24e-6 and below 1e-6."""


def amplified(update: Update) -> float:
    """How much larger the bound of this update is in fp32."""
    kinds = [getattr(term.loss, "kind", "") for term in update.terms.values()]
    return max(AMPLIFIED.get(kind, 1.0) for kind in kinds)
