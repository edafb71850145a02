"""Where a peer's numbers are not ours on purpose: which function, under what condition, why, and by how much
they must differ."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

from golden.conditions import (
    discounted_over_gaps,
    empty_row,
    equal_rewards,
    equal_to_credit,
    fact,
    far,
    far_ratio,
    far_sampler,
    gaps,
    gpg_factors_differ,
    group_of_one,
    length_penalty,
    little_spread,
    paid_alone,
)
from golden.records import Record
from menon.loss.ratio import LARGEST


def always(record: Record) -> bool:
    return True


@dataclass(frozen=True)
class Departure:
    function: str
    """A pattern."""
    reason: str
    low: float
    """Least size of the largest difference of a record; 0 where it depends on the numbers whether one can be
    seen."""
    high: float
    when: Callable[[Record], bool] = always
    variant: str = "*"
    relative: bool = False
    """Sizes are of the peer's largest number, where that is above 1."""

    def holds(self, record: Record) -> bool:
        return (
            fnmatch(record.function, self.function)
            and fnmatch(record.variant, self.variant)
            and self.when(record)
        )


def departures_of(record: Record) -> list[Departure]:
    return [departure for departure in DEPARTURES if departure.holds(record)]


ONE = "a group of one keeps its reward as advantage; here it has nothing to be compared with and gets 0"
FAR = f"log-ratios are not clamped at all; here at {LARGEST:g}, above which they overflow in single precision"
UNCLAMPED = (
    "areal.loss.*",
    "entropy_mechanism.loss.*",
    "nemo_rl.loss.clipped_pg",
    "orz.loss.policy",
    "prime_rl.loss.*",
)
UNCLAMPED += ("realhf.loss.policy", "slime.loss.*", "trl.loss.*", "verl.loss.*_cov", "verl.loss.geo_mean")
HUGE = float("inf")

NOT_BUILT = {
    "exo_pair": "EXO: the reverse KL between the policies' preferences and smoothed labels",
    "nca_pair": "NCA: the likelihood of each answer counts beside that of the pair",
    "bco_pair": "BCO: each answer is compared with a mean of rewards",
    "sppo_hard": "SPPO: each answer's log-ratio is driven to a number of its own",
    "aot*": "AOT: margins, or rewards, are compared in sorted order",
    "apo_down": "APO-down: preferred answers may become less likely too",
    "discopop": "DiscoPOP: a mixture of two losses by the margin",
    "*_kl": "f-DPO: another divergence from the reference",
    "*_divergence": "f-DPO: another divergence from the reference",
    "ld_alpha": "LD-DPO: tokens beyond the length of the shorter answer count less",
    "wpo": "WPO: pairs count by how likely the policy is to write them",
    "mix": "one of three losses is BCO",
    "alphapo": "AlphaPO: the reward is a power of the mean probability of a token",
}
"""Variant of TRL's preference losses -> what it is, where no part here is that."""
REST = "rounding leaves a rest where rewards are equal, which it divides by eps; here it is exactly 0"
STEPS = "tokens of an environment count as steps of time; here only the policy's own do"
DEPARTURES: tuple[Departure, ...] = (
    *(
        Departure(function, ONE, 1e-3, 10, group_of_one)
        for function in (
            "skyrl.advantage.grpo",
            "skyrl.advantage.maxrl",
            "spo.advantage.group",
            "verl.advantage.grpo",
            "verl.advantage.grpo_vectorized",
            "verl.advantage.opo",
            "verl.advantage.rloo",
        )
    ),
    Departure("verl.advantage.reinforce_plus_plus_baseline", ONE, 0, 10, group_of_one),
    Departure("verl.advantage.*optimal_token_baseline", ONE, 0, 10, paid_alone),
    Departure(
        "verl.advantage.*optimal_token_baseline",
        "groups of equal rewards keep a rest, and places that one answer reaches alone its reward; here they "
        "have nothing to compare and get 0",
        0,
        10,
        equal_to_credit,
    ),
    Departure(
        "verl.advantage.optimal_token_baseline",
        "places are columns of the padded rows, tokens of an environment included; here the policy's own "
        "tokens",
        0,
        10,
        gaps,
    ),
    Departure(
        "verl.advantage.gpg",
        "the factor counts rewards that are not zero; the paper and its code count answers of groups with "
        "spread",
        0,
        50,
        lambda record: group_of_one(record) or gpg_factors_differ(record),
    ),
    *(
        Departure(function, REST, 0, high, equal_rewards)
        for function, high in (
            ("oat.advantage.monte_carlo", 1e-6),
            ("openrlhf.advantage.group_norm", 1e-5),
            ("nemo_rl.advantage.grpo", 1e-2),
            ("skyrl.advantage.grpo", 0.3),
            ("spo.advantage.group", 1e-6),
            ("verl.advantage.grpo", 1e-8),
            ("verl.advantage.grpo_vectorized", 1e-3),
        )
    ),
    Departure(
        "verl.advantage.grpo_vectorized",
        "a variance has a floor of 1e-6; here eps is added to the deviation alone",
        0,
        10,
        little_spread,
    ),
    *(
        Departure(
            function,
            "the variance has a floor, which takes the place of an eps that is added",
            0,
            HUGE,
            fact("variance below the floor"),
        )
        for function in ("openrlhf.*", "orz.advantage.*", "nemo_rl.advantage.*")
    ),
    *(
        Departure(
            function,
            "single precision shows where numbers hardly vary around a mean that is taken off",
            0,
            1e-3,
            fact("numbers that hardly vary"),
        )
        for function in ("openrlhf.advantage.*", "orz.advantage.gae", "nemo_rl.advantage.*")
    ),
    Departure(
        "prime_rl.advantage.grpo",
        "a reward that depends on the group's longest answer",
        0,
        2,
        length_penalty,
    ),
    Departure(
        "trl.advantage.rloo",
        "an empty answer counts where advantages are normalised; here it has no token to credit and does not",
        0,
        5,
        lambda record: empty_row(record) and record.settings.get("normalize_advantages", False),
    ),
    Departure(
        "trl.advantage.rloo",
        "an answer that is alone in its group is left out where advantages are normalised; here it counts "
        "with 0",
        0,
        5,
        fact("one answer of a group has a reward"),
    ),
    Departure(
        "trl.advantage.ppo_gae",
        "the score is paid one step after the last token, past the value there, and rewards can be whitened",
        0,
        20,
        lambda record: (
            "rewards that are whitened" in record.facts
            or (
                bool((record.inputs["row_lengths"] < record.width).any())
                and (record.settings["lam"] < 1 or record.settings["gamma"] < 1)
            )
        ),
    ),
    *(
        Departure(function, STEPS, 0, 20, discounted_over_gaps)
        for function in (
            "openrlhf.advantage.gae",
            "openrlhf.advantage.reinforce",
            "orz.advantage.gae",
            "skyrl.advantage.gae",
            "slime.advantage.*",
            "spo.advantage.gae",
            "trl.advantage.ppo_gae",
        )
    ),
    *(
        Departure(
            function,
            "the critic's values between turns count, also without a discount",
            0,
            20,
            lambda record: gaps(record) and "values" in record.inputs,
        )
        for function in (
            "orz.advantage.gae",
            "skyrl.advantage.gae",
            "slime.advantage.gae",
            "spo.advantage.gae",
        )
    ),
    Departure(
        "verl.advantage.reinforce_plus_plus",
        "the return is cut where an environment's tokens begin, so turns before the last are not rewarded",
        0,
        20,
        gaps,
    ),
    Departure("spo.util.masked_whiten_prob", "Bessel's factor is rounded to single precision", 0, 1e-6),
    Departure("spo.advantage.gae", "Bessel's factor is rounded to single precision", 0, 1e-6),
    Departure(
        "orz.advantage.normalize_padded",
        "the mean is taken over padding too and the result rounded to bfloat16",
        0,
        2,
    ),
    Departure("skyrl.loss.kl_cov", "the KL term is a sum while the policy term is a mean", 0, HUGE),
    Departure(
        "skyrl.loss.clip_cov",
        "the covariance is of advantages that are divided by the normaliser already, so its bounds mean "
        "something else",
        0,
        10,
    ),
    Departure(
        "skyrl.loss.*",
        "a mean of the means of micro-batches",
        0,
        HUGE,
        lambda record: record.settings.get("loss_reduction") == "token_mean_legacy",
    ),
    Departure(
        "areal.loss.sapo",
        "the gate is put on the ratio of a whole answer",
        0,
        HUGE,
        fact("a gate on a sequence's ratio"),
    ),
    *(
        Departure("areal.loss.decoupled_ppo", reason, 0, HUGE, fact(name))
        for name, reason in (
            ("a lower bound on the largest", "a lower bound holds the largest of a row; here every token's"),
            ("a lower bound on a divergence", "divergences that are never negative can have a lower bound"),
            ("bounds that leave out a ratio of 1", "bounds may leave out where both policies agree"),
        )
    ),
    Departure(
        "areal.util.normalization",
        "the deviation can be taken around a mean of another level, or around 0",
        0,
        HUGE,
        fact("a deviation around another mean"),
    ),
    Departure("areal.util.normalization", ONE, 0, HUGE, fact("left out of itself")),
    Departure(
        "verl.loss.geo_mean",
        "a weight of 0 counts as 1e-10 in the geometric mean, here as 2e-9",
        0,
        HUGE,
        fact("weights of 0"),
    ),
    Departure(
        "spo.loss.policy",
        "an estimate below 0 counts as 0, so tokens less likely than under the reference pay nothing",
        0,
        10,
        fact("KL below 0"),
    ),
    *(
        Departure(
            function,
            "the quantile is interpolated in single precision, and keeps the tokens at or above it; here the "
            "k largest are kept",
            0,
            HUGE,
            fact("a quantile that keeps other tokens"),
        )
        for function in ("trl.loss.*", "trl.util.high_entropy_mask")
    ),
    *(
        Departure("trl.loss.*", reason, 0, HUGE, fact(name))
        for name, reason in (
            ("a row without a token to weigh", "a row without a token to weigh counts with its advantage"),
            (
                "a token's loss with a sequence's ratio",
                "a token's loss or gate on the ratio of a whole answer",
            ),
            (
                "a KL times a sequence's ratio",
                "the KL of a token is weighed by the ratio of the whole answer",
            ),
            ("a mean over padding", "the mean of LUSPO is over padding too where losses are of tokens"),
            ("a weight below 1e-8", "the weight of a whole answer has a floor"),
        )
    ),
    Departure(
        "trl.loss.rloo",
        "an empty answer counts with its advantage, which has no gradient",
        0,
        10,
        empty_row,
    ),
    *(
        Departure(
            "trl.loss.*",
            f"{what}; not built here, where it is compared with DPO or SimPO",
            1e-4,
            100,
            fact("a loss that is not built here"),
            variant,
        )
        for variant, what in NOT_BUILT.items()
    ),
    Departure(
        "nemo_rl.loss.distillation_topk",
        "the teacher gives tokens outside of its likeliest ones e^-100; here that reverse KL, which would be "
        "infinite, is refused, and a bucket for the rest is compared",
        1e-2,
        100,
        fact("a reverse KL from nothing"),
    ),
    Departure(
        "trl.advantage.minillm",
        "log-ratios are divided by the number of tokens that follow",
        0,
        10,
        fact("a mean over the tokens that follow"),
    ),
    Departure(
        "nemo_rl.loss.clipped_pg",
        "a KL's log-ratio is clamped before it is weighed; here only the weighed estimate is",
        0,
        HUGE,
        fact("a clamp within a weighed estimate"),
    ),
    *(
        Departure(
            function, "weights of the sampler are not held below exp(20)", 0, HUGE, far_sampler, relative=True
        )
        for function in ("areal.*", "nemo_rl.*", "openrlhf.loss.*", "trl.*", "prime_rl.*")
    ),
    Departure(
        "trl.loss.gr*",
        "the KL is weighed by a ratio that is not held below exp(20)",
        0,
        HUGE,
        lambda record: bool(record.settings.get("use_bias_correction_kl")) and far_ratio(record),
    ),
    *(Departure(function, FAR, 0, HUGE, far) for function in UNCLAMPED),
    *(
        Departure(function, "adds 1e-8 to the number of tokens, rows or pairs", 0, 1e-6, relative=True)
        for function in ("nemo_rl.*", "openrlhf.loss.*", "verl.loss.*")
    ),
)
