"""scale=paper: each recipe's published numbers, from the papers and not from the recipes."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager

import pytest

from menon.advantage import GAE, GRPO, RLOO, NormalisedGAE, SegmentCredit, Whiten
from menon.assembly.run import start
from menon.config import Critic, RunConfig, around_of, changed
from menon.errors import UserError
from menon.loop import Watcher
from menon.loss import CISPO, GSPO, KL, SAPO, ClipCov, KLCov, PPOClip
from menon.loss.aggregation import Constant, SelectedMean, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.parts import built
from menon.recipes import RECIPES, SCALES, published, recipe
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.segments import Segments
from menon.rollout.trees import Trees
from menon.select import ProbabilityMask, TopEntropy
from menon.settings import plain_data, read
from menon.shaping import KLInReward, Overlong, RewardNorm, TruncatedReward
from menon.update.reference import HardReset, MovingAverage
from menon.update.terms import Term

ORZ = (128, 64, 8000)
"""What is taken where a paper names no number."""
SIZES = {  # prompts, samples, updates, tokens of an answer, learning rate, warm-up
    "ppo": (*ORZ[:2], 1, 8000, 1e-6, 50),
    "grpo_paper": (16, 64, 1, 1024, 1e-6, 0),
    "r1_zero": (512, 16, 16, 32768, 3e-6, 0),
    "drgrpo": (128, 8, 2, 3000, 1e-6, 0),
    "dapo": (512, 16, 16, 20480, 1e-6, 20 * 16),
    "reinforce_pp": (*ORZ[:2], 2, ORZ[2], 1e-6, 0),
    "gspo": (*ORZ[:2], 4, ORZ[2], 1e-6, 0),
    "kl_cov": (256, 8, 8, 8192, 5e-7, 0),
    "clip_cov": (256, 8, 8, 8192, 5e-7, 0),
    "top_entropy": (512, 16, 16, 20480, 1e-6, 0),
    "vapo": (512, 16, 16, ORZ[2], 1e-6, 0),
    "realhf_ppo": (512, 1, 4, 1024, 1e-5, 0),
    "cispo": (*ORZ[:2], 16, ORZ[2], 1e-6, 0),
    "scalerl": (384, 16, 8, 14336, 1e-6, 0),
    "sapo": (*ORZ[:2], 4, ORZ[2], 1e-6, 0),
    "rloo": (ORZ[0], 2, 1, ORZ[2], 1e-6, 0),
    "opo": (*ORZ[:2], 1, ORZ[2], 1e-6, 0),
    "remax": (*ORZ[:2], 1, ORZ[2], 1e-6, 0),
    "gpg": (*ORZ[:2], 1, ORZ[2], 1e-6, 0),
    "spo_tree": (16, 1, 8, 1024, 1e-6, 0),
    "spo_chain": (64, 8, 8, 1024, 1e-6, 0),
    "vineppo": (64, 8, 8, 1024, 1e-6, 0),
    "grpo_masked": (64, 8, 8, 1024, 1e-6, 0),
}
TEMPERATURE = dict.fromkeys(("spo_chain", "spo_tree", "vineppo", "grpo_masked"), 0.6)
"""Where it is not 1."""
UNPUBLISHED = RECIPES.keys() - SIZES.keys()


def critic_of(config: RunConfig) -> Critic:
    assert config.models.critic is not None
    return config.models.critic


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    config = recipe(name, scale="paper")
    optimiser = config.models.policy.optimiser
    assert (
        config.source.prompts_per_step,
        config.source.samples_per_prompt,
        config.models.policy.updates_per_step,
        config.source.max_new_tokens,
        optimiser.learning_rate,
        optimiser.warmup_updates,
    ) == SIZES[name]
    assert (config.source.temperature, optimiser.clip_norm, optimiser.schedule) == (
        TEMPERATURE.get(name, 1.0),
        1.0,
        "constant",
    )
    assert config == recipe(name, "a/folder", "paper")
    assert (config.recipe, config.scale) == (name, "paper")
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config


@pytest.mark.parametrize("scale", SCALES)
def test_constants_of_the_algorithms_hold_at_both_scales(scale):
    """What the recipes' papers name (docs/papers.md)."""
    clip, higher = PPOClip(0.2, 0.2), PPOClip(0.2, 0.28)
    of = {name: recipe(name, scale=scale) for name in SIZES}
    policy = {name: config.objective["policy"] for name, config in of.items()}
    assert policy["ppo"] == policy["reinforce_pp"] == policy["realhf_ppo"] == Term(clip, TokenMean())
    assert policy["grpo_paper"] == Term(clip, SequenceMeanTokenMean())
    assert policy["r1_zero"].loss.clip_high == 10
    assert policy["dapo"] == policy["vapo"] == Term(higher, TokenMean())
    assert policy["top_entropy"] == Term(higher, SelectedMean(), TopEntropy(fraction=0.2))
    assert policy["gspo"].loss == GSPO(clip_low=3e-4, clip_high=4e-4)
    assert policy["cispo"] == Term(CISPO(low=0.0, high=1.28), TokenMean())
    assert policy["sapo"] == Term(SAPO(tau_positive=1.0, tau_negative=1.05), SequenceMeanTokenMean())
    assert policy["kl_cov"] == Term(KLCov(fraction=2e-3, penalty=1.0), TokenMean())
    assert policy["clip_cov"] == Term(
        ClipCov(fraction=2e-4, low=1.0, high=5.0, clip_low=1.0, clip_high=1.0), TokenMean()
    )
    assert of["grpo_paper"].objective["kl"] == Term(KL("k3"), SequenceMeanTokenMean(), coef=0.04)
    assert of["r1_zero"].objective["kl"] == Term(KL("k3"), SequenceMeanTokenMean(), coef=0.001)
    assert of["realhf_ppo"].advantage["kl"] == KLInReward(beta=0.1)
    assert of["realhf_ppo"].models.reference_update == MovingAverage(rate=0.001)
    assert of["ppo"].advantage["credit"] == GAE(gamma=1.0, lam=1.0)
    assert of["realhf_ppo"].advantage["credit"] == NormalisedGAE(
        gamma=1.0, lam=1.0, bootstrap_truncated=True, decay=0.99995, eps=1e-5
    )
    assert (of["realhf_ppo"].advantage["clip"], of["realhf_ppo"].source.top_k) == (
        RewardNorm(over="none", clip=20.0),
        200,
    )
    assert list(of["drgrpo"].advantage.values()) == [TruncatedReward(factor=0.0), GRPO(std_mode="none")]
    assert of["vapo"].objective["imitation"].coef == 0.1
    assert of["vapo"].advantage["credit"].lam_critic == 1.0
    assert (
        critic_of(of["ppo"]).objective["value"].loss.clip
        == critic_of(of["realhf_ppo"]).objective["value"].loss.clip
        == 0.2
    )
    for name in ("dapo", "top_entropy", "kl_cov", "clip_cov"):
        rollout = of[name].source.rollout
        assert isinstance(rollout, DynamicSampling)
        assert (rollout.lo, rollout.hi, rollout.max_rounds) == (0.0, 1.0, 10)
    nearer = PPOClip(0.2, 0.2, limit=10)  # SPO's code bounds log-ratios there
    mask = Term(nearer, SelectedMean(), ProbabilityMask(below=0.9))
    assert policy["spo_chain"] == policy["grpo_masked"] == mask
    assert policy["vineppo"] == Term(nearer, TokenMean())
    assert list(of["spo_chain"].advantage.values()) == [SegmentCredit(below=0.9), Whiten(below=0.9)]
    assert list(of["vineppo"].advantage.values()) == [SegmentCredit(), Whiten()]
    assert of["spo_chain"].source.rollout == Segments("cutpoints", interval=5, threshold=0.9, value_samples=9)
    assert (policy["spo_tree"], of["spo_tree"].models.policy.old) == (mask, "behaviour")
    assert list(of["spo_tree"].advantage.values()) == [SegmentCredit("rloo"), Whiten(below=0.9)]
    assert (of["spo_tree"].source.rollout.edges_per_question, of["spo_tree"].source.rollout.max_age) == (
        32,
        8,
    )
    for name in ("spo_chain", "spo_tree", "vineppo"):
        assert of[name].objective["kl"] == Term(KL("k3"), SequenceMean(), coef=1e-4)
    without = of.keys() - {
        "grpo_paper",
        "r1_zero",
        "reinforce_pp",
        "realhf_ppo",
        "rloo",
        "spo_chain",
        "spo_tree",
        "vineppo",
    }
    assert {of[name].models.reference for name in without} == {"none"}


def test_published_extras():
    ppo, vapo, realhf = (critic_of(recipe(name, scale="paper")) for name in ("ppo", "vapo", "realhf_ppo"))
    assert (ppo.updates_per_step, ppo.optimiser.learning_rate, ppo.optimiser.warmup_updates, ppo.init) == (
        12,
        5e-6,
        50,
        "orz",
    )
    assert (vapo.updates_per_step, vapo.optimiser.learning_rate, vapo.pretrain_steps) == (16, 2e-6, 50)
    assert (realhf.updates_per_step, realhf.optimiser.learning_rate) == (4, 5e-6)
    assert recipe("ppo", scale="paper").models.policy.optimiser.betas == (0.9, 0.95)
    assert recipe("vapo", scale="paper").advantage["credit"].alpha == 0.05
    dapo = recipe("dapo", scale="paper")
    for name in ("dapo", "top_entropy"):
        config = recipe(name, scale="paper")
        overlong = built(config.advantage["overlong"], around_of(config.source, 0))
        assert overlong == Overlong(limit=20480, buffer=4096, factor=1.0)
    assert (dapo.models.policy.optimiser.weight_decay, dapo.source.rollout) == (
        0.1,
        DynamicSampling(prompts_per_round=3 * 512),
    )
    drgrpo = recipe("drgrpo", scale="paper")
    share = built(drgrpo.objective["policy"].share, around_of(drgrpo.source, 0))
    assert share == Constant(length=3000)
    zero = recipe("r1_zero", scale="paper")
    update = zero.models.reference_update
    assert isinstance(update, HardReset)
    assert update.every * zero.models.policy.updates_per_step == 400  # their steps are our updates
    assert zero.source.prompts_per_step * zero.source.samples_per_prompt == 8192
    for name in ("spo_chain", "spo_tree", "vineppo", "grpo_masked"):
        own = recipe(name, scale="paper").source
        assert (own.temperature, own.top_p, own.top_k) == (0.6, 0.9, 0)
    assert recipe("spo_tree", scale="paper").source.rollout == Trees((6, 6, 6), (30,), 32, 1024, 8)
    assert recipe("vineppo", scale="paper").source.rollout == Segments(
        "lines", value_samples=9, max_values=20
    )
    rloo = recipe("rloo", scale="paper")
    assert list(rloo.advantage.values()) == [KLInReward(beta=0.05), RLOO()]
    assert rloo.models.reference == "frozen"


@pytest.mark.parametrize("name", sorted(UNPUBLISHED))
def test_a_recipe_without_a_paper_has_no_published_numbers(name):
    """The error names the recipes that have some."""
    with pytest.raises(UserError, match=f"no published numbers of the recipe '{name}' are known") as refused:
        recipe(name, scale="paper")
    named = str(refused.value).rpartition(": ")[2].split(", ")
    assert named == published()
    assert {*named, *UNPUBLISHED} == set(RECIPES)


def test_an_unknown_scale():
    with pytest.raises(UserError, match=r"scale is 'papre'; it takes laptop .* or paper"):
        recipe("dapo", scale="papre")


def test_the_command_lays_settings_over_the_scale(tmp_path, monkeypatch):
    seen: list[RunConfig] = []

    class Stop(Exception):
        pass

    def unwatched(header: Mapping[str, str]) -> AbstractContextManager[Watcher]:
        raise AssertionError(header)

    def drive(config: RunConfig, *rest: object) -> None:
        seen.append(config)
        raise Stop

    monkeypatch.setattr("menon.assembly.run.use", lambda chosen, device: None)
    monkeypatch.setattr("menon.assembly.run.drive", drive)
    changes = ({"samples_per_prompt": "4"}, {"scale": "paper"}, {"out": str(tmp_path), "threads": 1})
    with pytest.raises(Stop):
        start("dapo", changes, unwatched)
    source = seen[0].source
    assert (seen[0].scale, source.prompts_per_step, source.samples_per_prompt) == ("paper", 512, 4)
    with pytest.raises(UserError, match="scale chooses the numbers of a recipe, and a run"):
        start(None, ({"scale": "laptop"}, {"threads": 1}), unwatched, again=plain_data(seen[0]))


def test_a_paper_run_can_be_changed_like_any_other():
    config = changed(recipe("dapo", scale="paper"), {"learning_rate": 1e-5, "prompts_per_step": 8})
    optimiser = config.models.policy.optimiser
    assert (config.scale, config.source.prompts_per_step) == ("paper", 8)
    assert (optimiser.learning_rate, optimiser.warmup_updates) == (1e-5, 320)
