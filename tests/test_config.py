"""A run's configuration: recipes, changes, cross checks, and back from JSON."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from menon.advantage import GAE, GRPO, SegmentCredit, Whiten
from menon.config import Critic, RunConfig, changed
from menon.control import EntropyCoefficient
from menon.errors import UserError
from menon.loss import DPO, GSPO, IPO, KL, KTO, NLL, PPOClip, ValueLoss
from menon.loss.aggregation import PairMean, PairMeanTokenMean, SequenceMean, TokenMean
from menon.old_formats import settings_as_begun, settings_of_format_1
from menon.prompts.reader import Columns
from menon.prompts.tasks import ChainSum, Countdown
from menon.recipes import RECIPES, recipe
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.segments import Segments
from menon.select import Correct, ProbabilityMask
from menon.settings import override, plain_data, read
from menon.shaping import KLInReward
from menon.update.optimiser import Optimiser
from menon.update.terms import Term
from menon.validate import check_unit

BASE = RunConfig(advantage={"credit": GRPO()}, objective={"policy": Term(PPOClip(), TokenMean())})
KL_TERM = {"loss": "kl", "share": "token_mean", "coef": 0.04}


def test_settings_reach_their_places():
    config = changed(
        BASE,
        {"steps": "7", "learning_rate": "1e-3", "samples_per_prompt": 16},
        {
            "objective.policy.loss": "gspo",
            "objective.policy.share": "sequence_mean",
            "objective.policy.select": "correct",
        },
        {"objective.policy.loss.clip_high": ".1", "rollout": "dynamic_sampling", "rollout.max_rounds": "3"},
        {"objective.kl": KL_TERM, "reference": "frozen", "optimiser.betas": [0.9, 0.99]},
    )
    assert (config.control.steps, config.source.samples_per_prompt) == (7, 16)
    assert config.models.policy.optimiser == Optimiser(learning_rate=1e-3, betas=(0.9, 0.99))
    assert config.objective["policy"] == Term(GSPO(clip_high=0.1), SequenceMean(), Correct())
    assert config.objective["kl"] == Term(KL(), TokenMean(), coef=0.04)
    assert config.source.rollout == DynamicSampling(max_rounds=3)
    source = changed(BASE, {"data": "x", "columns.answer": "meta.gold"}).source
    assert source.columns == Columns(answer="meta.gold")


def test_settings_of_a_task_alone_are_those_of_the_default_task():
    assert changed(BASE, {"task.min_terms": "5"}).source.task == ChainSum(min_terms=5)
    assert changed(BASE, {"task": {"min_terms": 5}}, {"task.max_terms": 7}).source.task == ChainSum(5, 7)
    assert changed(BASE, {"task": "countdown"}, {"task.difficulty": 3}).source.task == Countdown(difficulty=3)
    with pytest.raises(UserError, match=r"'min_term'; did you mean 'min_terms'\?"):
        changed(BASE, {"task.min_term": 5})


def test_later_changes_win_and_the_recipe_is_not_touched():
    assert changed(BASE, {"steps": 5}, {"steps": 6}).control.steps == 6
    assert BASE.control.steps == RunConfig(BASE.advantage, BASE.objective).control.steps


def test_short_names():
    """A learning rate is the policy's, beside a critic too."""
    config = changed(recipe("ppo"), {"learning_rate": 0.25, "critic.learning_rate": 0.5})
    assert config.models.critic is not None
    rates = [part.optimiser.learning_rate for part in (config.models.policy, config.models.critic)]
    assert rates == [0.25, 0.5]
    again = changed(config, {"learning_rate": 1}, {"optimiser.learning_rate": 2})
    assert again.models.policy.optimiser.learning_rate == 2


def test_arguments_of_a_chat_template_are_any_names_with_any_values():
    """Words of a command line become booleans and numbers; lists and tables stay as they are."""
    words = (
        "enable_thinking=False",
        "keep=true",
        "budget=512",
        "ratio=.5",
        "effort=high",
        "documents=[{a: 1}]",
    )
    changes = dict(override(f"template_arguments.{word}") for word in words)
    config = changed(BASE, changes, {"template_arguments": {"date": "1 May", "none": None}})
    want = {"enable_thinking": False, "keep": True, "budget": 512, "ratio": ".5", "effort": "high"}
    want |= {"documents": [{"a": 1}], "date": "1 May", "none": None}
    assert config.source.template_arguments == want
    assert type(config.source.template_arguments["budget"]) is int
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config


def test_a_task_is_a_part_with_settings_and_may_be_ones_own(tmp_path: Path):
    assert changed(BASE, {"task": "countdown", "task.difficulty": "3"}).source.task == Countdown(3)
    file = tmp_path / "mine.py"
    file.write_text(OWN_TASK)
    config = changed(BASE, {"task": {"kind": f"{file}:Doubles", "most": 7}})
    again = read(RunConfig, json.loads(json.dumps(plain_data(config))))
    assert again.source.task.rows("train", 1, 0) == [{"question": "7+7=", "answer": "14"}]
    assert list(config.with_own_code().own_code) == [f"{file}:Doubles"]
    with pytest.raises(UserError, match=r"Half lacks 'room' and 'grade'; a task has rows\("):
        changed(BASE, {"task": f"{file}:Half"})


OWN_TASK = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Doubles:
    most: int = 9
    def rows(self, split, n, seed):
        return [{"question": f"{self.most}+{self.most}=", "answer": str(2 * self.most)}][:n]
    def room(self, split):
        return 1
    def grade(self, prompt, completion, answer):
        return float(completion == answer)

@dataclass(frozen=True)
class Half:
    def rows(self, split, n, seed):
        return []
"""


def test_null_takes_a_named_part_away():
    config = changed(BASE, {"objective.kl": KL_TERM, "reference": "frozen", "advantage.whiten": "whiten"})
    assert list(config.objective) == ["policy", "kl"]
    assert list(config.advantage) == ["credit", "whiten"]
    bare = changed(config, {"objective.kl": None, "advantage.whiten": None})
    assert (list(bare.objective), list(bare.advantage)) == (["policy"], ["credit"])


def test_a_whole_table_sets_the_order():
    config = changed(BASE, {"advantage": {"kl": "kl_in_reward", "credit": "grpo"}, "reference": "frozen"})
    assert list(config.advantage.items()) == [("kl", KLInReward()), ("credit", GRPO())]


def test_objects_are_taken_as_they_are():
    def reward(prompt, completion, answer):
        return 1.0

    critic = Critic({"value": Term(ValueLoss(), TokenMean())})
    config = changed(BASE, {"reward": reward, "advantage.credit": GAE(lam=0.5), "critic": critic})
    assert config.source.reward is reward
    assert config.advantage["credit"] == GAE(lam=0.5)
    assert config.models.critic == critic


@pytest.mark.parametrize("name", RECIPES)
def test_run_json_gives_the_same_configuration(name):
    own = {"remax": "greedy_baseline", "spo_chain": "segments", "vineppo": "segments", "spo_tree": "tree"}
    rollout = own.get(name, "dynamic_sampling")
    config = changed(
        recipe(name),
        {} if name == "spo_tree" else {"samples_per_prompt": 4},
        {"objective.kl": KL_TERM, "reference": "frozen"},
        {"rollout": rollout, "stop": ["\n\n"]},
    )
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config


MASK_BELOW = {"advantage.whiten.below": 0.8, "objective.policy.select.below": 0.8}


def test_short_names_of_segments():
    """The rollout's settings by their short names; each part that masks or whitens has its own `below`."""
    config = changed(recipe("spo_chain"), {"interval": "2", "threshold": "0.8", "value_samples": 4})
    assert config.advantage == recipe("spo_chain").advantage
    config = changed(config, {"advantage.credit.below": 0.8}, MASK_BELOW)
    assert config.source.rollout == Segments(interval=2, threshold=0.8, value_samples=4)
    assert config.advantage == {"credit": SegmentCredit(below=0.8), "whiten": Whiten(below=0.8)}
    assert config.objective["policy"].select == ProbabilityMask(below=0.8)
    masked = changed(recipe("grpo_masked"), MASK_BELOW)
    assert (masked.advantage["whiten"].below, masked.objective["policy"].select.below) == (0.8, 0.8)
    tree = changed(recipe("spo_tree"), {"branching": "4-5-6", "segment_tokens": "20"}, MASK_BELOW)
    rollout = recipe("spo_tree").source.rollout
    assert tree.source.rollout == replace(rollout, branching=(4, 5, 6), segment_tokens=(20,))
    assert tree.objective["policy"].select.below == tree.advantage["whiten"].below == 0.8
    shapes = {"branching": [2, 3, 2], "segment_tokens": [7, 9]}, {"branching": 6, "segment_tokens": 7}
    three, one = (changed(tree, shape).source.rollout for shape in shapes)
    assert (three.branching, three.segment_tokens) == ((2, 3, 2), (7, 9))
    assert (one.branching, one.segment_tokens) == ((6,), (7,))
    plain_grpo = {"objective.policy.select": "probability", "below": 0.5}
    assert changed(BASE, plain_grpo).objective["policy"].select.below == 0.5


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("grpo", {"threshold": 0.5}, "this run has no setting 'threshold'; it belongs to rollout=segments"),
        ("grpo", {"interval": 5}, "this run has no setting 'interval'; it belongs to rollout=segments"),
        ("grpo", {"advantage.credit": "segment"}, "set rollout=segments"),
        ("spo_chain", {"threshold": 1.5}, "in source.rollout: threshold is 1.5; it is a probability"),
        ("spo_chain", {"advantage.credit.below": 1.5}, "below of SegmentCredit is 1.5; it is a probability"),
        ("spo_chain", {"environment": "calculator"}, "leave the environment out"),
        (
            "spo_chain",
            {"rollout.partition": "tokens", "segment_tokens": 96},
            "segments of 96 tokens cut no answer of at most 96",
        ),
        (
            "spo_tree",
            {"segment_tokens": 48},
            "levels above the last take 96 tokens .48-48., and answers have room for 96",
        ),
        ("spo_tree", {"branching": "6-x"}, "branching is '6-x'; it takes"),
        ("spo_tree", {"branching": "6-0-6"}, "branching is 6-0-6; it takes numbers of children"),
        ("spo_tree", {"rollout.max_age": 0}, "max_age is 0"),
        ("spo_tree", {"samples_per_prompt": 8}, "branching alone says .*; set samples_per_prompt=1"),
        (
            "spo_chain",
            {"advantage.credit.method": "grpo"},
            "advantage.credit compares a node with its siblings, .* no tree; set rollout=tree, or another",
        ),
        ("spo_tree", {"old": "trainer"}, "set old=behaviour, or rollout.max_age=1"),
        ("spo_tree", {"environment": "calculator"}, "leave the environment out"),
        ("grpo", {"branching": "6-6-6"}, "this run has no setting 'branching'; it belongs to rollout=tree"),
        ("spo_chain", {"rollout.partition": "words"}, "it takes 'cutpoints', 'tokens', 'parts' or 'lines'"),
    ],
)
def test_segments_that_do_not_fit_are_refused(name, change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe(name), change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"advantage.credit": "remax"}, "set rollout=greedy_baseline"),
        ({"advantage": {"credit": "whiten"}}, "comes after an estimator"),
        (
            {"advantage": {"credit": "grpo", "long": {"kind": "overlong", "limit": 9, "buffer": 3}}},
            "comes before advantage.credit, which uses them",
        ),
        (
            {"advantage.credit": "optimal_token", "samples_per_prompt": 1},
            "set samples_per_prompt to at least 2",
        ),
        ({"advantage.credit": "opo", "samples_per_prompt": 1}, "set samples_per_prompt to at least 2"),
        ({"reference_update": "hard_reset"}, "set reference=frozen"),
        ({"advantage.credit": "vapo"}, "needs a critic"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe("grpo"), change)


OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar

@dataclass(frozen=True)
class Mine:
    scale: float = 2.0
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch):
        return replace(batch, advantage=batch.reward * self.scale)
"""


OWN_PARTS = """
from dataclasses import dataclass, replace
from typing import ClassVar

from menon.rollout.protocols import Collected

@dataclass(frozen=True)
class Halved:
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)
    def __call__(self, batch):
        return replace(batch, reward=batch.reward / 2)

@dataclass(frozen=True)
class Credit:
    compares: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    def __call__(self, batch):
        return replace(batch, advantage=batch.reward)

@dataclass(frozen=True)
class Novel(Credit):
    reads: ClassVar[tuple[str, ...]] = ("reward", "novelty")

@dataclass(frozen=True)
class Novelty:
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("novelty",)
    def __call__(self, batch):
        return replace(batch, columns={**batch.columns, "novelty": batch.reward})

@dataclass(frozen=True)
class Baseline(Novelty):
    writes: ClassVar[tuple[str, ...]] = ("baseline",)

@dataclass(frozen=True)
class One:
    few: int = 1
    def __call__(self, prompts, sampler, grade, around):
        return Collected([])
    def check(self, name, around):
        from menon.errors import UserError
        if self.few > around.prompts_per_step:
            raise UserError(f"{name}.few is {self.few}")
"""


CHANGES = "advantage.own changes rewards and so comes before advantage.credit, which uses them"


@pytest.mark.parametrize(
    ("advantage", "sentence"),
    [
        ({"own": "Halved", "long": {"kind": "overlong", "limit": 9, "buffer": 3}, "credit": "grpo"}, None),
        ({"new": "Novelty", "credit": "Novel"}, None),
        ({"credit": "grpo", "own": "Halved"}, CHANGES),
        ({"credit": "Credit", "own": "Halved"}, CHANGES),
        (
            {"credit": "grpo", "second": "Credit"},
            "advantage.second would replace what advantage.credit gave, 'advantage'; take one away, as by "
            "advantage.credit=null",
        ),
        (
            {"credit": "Novel"},
            "advantage.credit reads 'novelty', which nothing before it fills; put a part before it that "
            "writes 'novelty'",
        ),
        ({"credit": "Novel", "new": "Novelty"}, "advantage.credit reads 'novelty', which nothing before it"),
        (
            {"own": "Halved", "credit": None},
            "objective.policy.loss needs advantages, and no advantage part makes them",
        ),
    ],
)
def test_parts_of_ones_own_are_held_to_what_they_read_and_write(tmp_path, advantage, sentence):
    (tmp_path / "own.py").write_text(OWN_PARTS)
    table = {
        name: f"{tmp_path}/own.py:{part}" if isinstance(part, str) and part[0].isupper() else part
        for name, part in advantage.items()
    }
    if sentence is None:
        assert list(changed(BASE, {"advantage": table}).advantage) == list(advantage)
        return
    with pytest.raises(UserError, match=re.escape(sentence)):
        changed(BASE, {"advantage": table})


def test_a_rollout_of_ones_own_is_a_part_like_others(tmp_path):
    (tmp_path / "own.py").write_text(OWN_PARTS)
    name = f"{tmp_path}/own.py:One"
    config = changed(BASE, {"rollout": {"kind": name, "few": "3"}})
    assert config.source.rollout.few == 3
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config
    assert list(config.with_own_code().own_code) == [name]
    with pytest.raises(UserError, match=r"rollout\.few is 99"):
        changed(BASE, {"rollout": {"kind": name, "few": 99}})
    compares = {"advantage": {"credit": f"{tmp_path}/own.py:Credit"}, "samples_per_prompt": 1}
    with pytest.raises(UserError, match=r"advantage\.credit compares the answers to one prompt"):
        changed(BASE, compares)
    table = {"b": f"{tmp_path}/own.py:Baseline", "credit": "grpo"}
    twice = {"rollout": "greedy_baseline", "advantage": table}
    with pytest.raises(UserError, match=r"advantage\.b would replace what rollout gave, 'baseline'; take"):
        changed(BASE, twice)


def test_what_a_part_reads_depends_on_its_settings():
    assert (Whiten().reads, Whiten(below=0.9).reads) == (("advantage",), ("advantage", "behaviour_logp"))
    assert EntropyCoefficient(target=1.0).reads == ("entropy",)
    assert EntropyCoefficient(target=1.0, term="bonus").writes == ("coefficient/bonus",)
    assert (GRPO().writes, GAE().writes) == (("advantage",), ("advantage", "ret"))
    assert SegmentCredit("grpo").reads == ("reward", "state_value", "parent", "state_std")
    steered_twice = {"advantage": {"credit": "grpo", "a": "penalty_coefficient", "b": "penalty_coefficient"}}
    term = {"objective.penalty": {"loss": "old_kl", "share": "token_mean"}}
    with pytest.raises(UserError, match=r"advantage\.b would replace what advantage\.a gave, 'coefficient"):
        changed(BASE, steered_twice, term)


def test_an_own_part_survives_run_json_and_leaves_its_hash(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    reward = tmp_path / "reward.py"
    reward.write_text("1 / 0  # never run here\n")
    config = changed(
        BASE, {"advantage.credit": f"{file}:Mine", "advantage.credit.scale": "3", "reward": f"{reward}:score"}
    )
    assert config.advantage["credit"].scale == 3.0
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config
    hashes = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in (("Mine", file), ("score", reward))
    }
    assert config.with_own_code().own_code == {
        f"{file}:Mine": hashes["Mine"],
        f"{reward}:score": hashes["score"],
    }
    assert BASE.with_own_code().own_code == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rat": 1}, "unknown setting 'learning_rat'; did you mean 'learning_rate'?"),
        (
            {"objective.policy.loss.clip_hi": 1},
            "in objective.policy.loss: unknown setting 'clip_hi'; did you mean 'clip_high'?",
        ),
        (
            {"objective.policy.loss": "ppo_clp"},
            "in objective.policy.loss: unknown kind 'ppo_clp'; did you mean 'ppo_clip'?",
        ),
        (
            {"objective.policy.los": "gspo"},
            "unknown setting 'objective.policy.los'; did you mean 'objective.policy.loss'?",
        ),
        (
            {"objective.kl.share": "token_mean"},
            "in objective.kl: 'loss' is missing and has no default; set it",
        ),
        (
            {"critic.objectiv": {}},
            "unknown setting 'models.critic.objectiv'; did you mean 'models.critic.objective'?",
        ),
        ({"dtype": "fp16"}, "engine.dtype is 'fp16'; it takes 'float32', 'bfloat16' or 'float64'"),
        ({"steps": 0}, "in control: steps is 0; it must be at least 1"),
        ({"seed": -1}, "in control: seed is -1; it must be at least 0"),
        ({"threads": 0}, "in engine: threads is 0; it must be at least 1"),
        (
            {"temperature": 0},
            "in source: temperature is 0; training draws answers at random, so it must be positive",
        ),
        (
            {"data": "a", "task": "chain_sum"},
            "in source: data and task are both given; questions come from one of them, so leave the other "
            "out",
        ),
        (
            {"task": {"kind": "countdown", "difficulty": 6}},
            "in source.task: countdown has difficulties 1 to 5, not 6.",
        ),
        (
            {"columns.answer": "a"},
            "in source: columns says how to read data, and this run reads none; give it data, or leave "
            "columns out",
        ),
        (
            {"heldout_data": "a"},
            "in source: heldout_data is given without data; a task has held-out questions of its own",
        ),
        (
            {"objective.kl": KL_TERM},
            "objective.kl.loss compares with a reference, and this run has none; set reference=frozen",
        ),
        (
            {"objective.kl": {"loss": "exact_kl", "share": "token_mean"}},
            "objective.kl.loss compares with a reference, and this run has none; set reference=frozen",
        ),
        (
            {"advantage": {"kl": "kl_in_reward", "credit": "grpo"}},
            "advantage.kl compares with a reference, and this run has none; set reference=frozen",
        ),
        (
            {"advantage.kl": "kl_in_reward", "reference": "frozen"},
            "advantage.kl changes rewards and so comes before advantage.credit, which uses them; write "
            "advantage='{kl: ..., credit: ...}'",
        ),
        (
            {"advantage.credit": "gae"},
            "advantage.credit needs a critic, and this run has none; start from the recipe ppo, or give "
            "the run a critic",
        ),
        (
            {"advantage.credit": None},
            "objective.policy.loss needs advantages, and no advantage part makes them; set "
            "advantage.credit=grpo",
        ),
        (
            {"objective.policy": None},
            "objective holds no term; give it one, like objective.policy.loss=ppo_clip",
        ),
        (
            {"critic": {"objective": {}}},
            "critic.objective holds no term; give it one, or leave the critic out with critic=null",
        ),
        (
            {"samples_per_prompt": 1},
            "advantage.credit compares the answers to one prompt; set samples_per_prompt to at least 2",
        ),
        (
            {"objective.policy.loss": "kto", "reference": "frozen", "objective.policy.share": "pair_mean"},
            "objective.policy.loss gives one number per answer; set objective.policy.share=sequence_mean",
        ),
        (
            {"objective.policy.loss": "dpo", "reference": "frozen"},
            "objective.policy.loss learns from pairs, and this run has none; set arrange.pairs=best_worst, "
            "start from the recipe dpo, or choose another loss",
        ),
        (
            {"arrange": {"one": "best_worst", "two": "best_worst"}},
            "arrange.two would replace what arrange.one gave, 'pair'; take one away, as by arrange.one=null",
        ),
        (
            {"arrange.best": "best_of", "arrange.best.keep": 9},
            "arrange.best.keep is 9, and 8 answers are written to a prompt; lower it, or raise "
            "samples_per_prompt",
        ),
        (
            {"arrange.some": "varied", "samples_per_prompt": 1, "advantage.credit": "reinforce"},
            "arrange.some compares the answers to one prompt; set samples_per_prompt to at least 2",
        ),
        (
            {"objective.policy.share": "sequence_length_mean"},
            "objective.policy.share=sequence_length_mean multiplies the number of an answer by its tokens, "
            "and objective.policy.loss gives numbers per token; set objective.policy.share=sequence_mean, "
            "which adds them up",
        ),
        (
            {"order": "unsolved", "staleness": 1},
            "in source: order=unsolved chooses a step's questions by the answers of all steps before it, and "
            "staleness=1 writes it before they are known; set staleness=0 or order=shuffled",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(UserError) as error:
        changed(BASE, change)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("loss", "share", "said"),
    [
        (DPO(), TokenMean(), "t.loss gives one number per pair; set t.share=pair_mean"),
        (IPO(), PairMeanTokenMean(), "t.loss gives one number per pair; set t.share=pair_mean"),
        (KTO(), PairMean(), "t.loss gives one number per answer; set t.share=sequence_mean"),
        (DPO(), PairMean(), ""),
        (NLL(), PairMean(), ""),
        (NLL(), PairMeanTokenMean(), ""),
    ],
)
def test_a_number_per_pair_is_weighed_by_pairs(loss, share, said):
    if not said:
        check_unit("t", Term(loss, share))
        return
    with pytest.raises(UserError) as error:
        check_unit("t", Term(loss, share))
    assert str(error.value) == said


def test_an_unknown_recipe():
    with pytest.raises(UserError, match=r"there is no recipe 'reinforc'; did you mean 'reinforce'\?"):
        recipe("reinforc")


def test_another_model_than_the_built_in_one_gets_the_papers_learning_rates():
    config = recipe("ppo", "a/folder")
    assert config.models.critic is not None
    rates = [part.optimiser.learning_rate for part in (config.models.policy, config.models.critic)]
    assert rates == [1e-6, 5e-6]
    assert recipe("grpo", "a/folder") == changed(
        recipe("grpo"), {"learning_rate": 1e-6, "max_new_tokens": None}
    )


def test_a_shared_trunk_has_one_set_of_updates():
    shared = {"critic.shared_trunk": "true"}
    with pytest.raises(UserError, match=r"set critic\.updates_per_step=1"):
        changed(recipe("ppo"), shared)
    config = changed(recipe("ppo"), shared, {"critic.updates_per_step": 1})
    assert config.models.critic is not None
    assert config.models.critic.shared_trunk
    with pytest.raises(UserError, match="both have a term 'policy'"):
        changed(config, {"critic.objective.policy": {"loss": "value", "share": "token_mean"}})


def test_the_settings_of_open_reasoner_zero():
    """Open-Reasoner-Zero, arXiv 2503.24290: lambda = gamma = 1, whitened, clip .2 for policy and value, one
    policy update, no KL, no bonus."""
    config = recipe("ppo")
    assert config.models.critic is not None
    assert (config.advantage["credit"], config.models.policy.updates_per_step, config.models.reference) == (
        GAE(gamma=1.0, lam=1.0),
        1,
        "none",
    )
    assert list(config.advantage) == ["credit", "whiten"]
    assert config.objective == {"policy": Term(PPOClip(0.2, 0.2), TokenMean())}
    assert config.models.critic.objective["value"].loss.clip == 0.2
    assert config.models.critic.updates_per_step > 1


def test_a_part_that_steers_a_term_needs_it():
    steering = {"advantage.steer": "penalty_coefficient"}
    with pytest.raises(
        UserError, match=r"advantage\.steer steers the term 'penalty', which the objective does not have"
    ):
        changed(recipe("grpo"), steering)
    term = {"objective.penalty": {"loss": "old_kl", "share": "token_mean"}}
    assert changed(recipe("grpo"), steering, term).advantage["steer"].term == "penalty"


def test_corrections_are_a_list_of_parts():
    given = {"objective.policy.correction": ["importance", {"kind": "reject", "high": 1.002, "low": 0.999}]}
    weight, geometric = changed(recipe("grpo"), given).objective["policy"].correction
    assert (weight.high, geometric.low, geometric.over) == (2.0, 0.999, "mean")
    with pytest.raises(UserError, match="unknown kind 'importanc'; did you mean 'importance'"):
        changed(recipe("grpo"), {"objective.policy.correction": ["importanc"]})


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "grpo",
            {"advantage.gae": "rloo"},
            "advantage.gae would replace what advantage.credit gave, 'advantage'; take one away, as by "
            "advantage.credit=null",
        ),
        (
            "ppo",
            {"advantage.credit": "grpo"},
            "critic.objective.value.loss learns returns, and no advantage part makes them",
        ),
        (
            "ppo",
            {"objective.x": {"loss": "value", "share": "token_mean"}},
            "is the critic's; name it critic.objective.x.loss",
        ),
        (
            "ppo",
            {"critic.objective.x": {"loss": "pg", "share": "token_mean"}},
            "is the policy's; name it objective.x.loss",
        ),
        (
            "grpo",
            {"objective.policy.loss": "gspo"},
            "gives one number per answer; set objective.policy.share=sequence_mean",
        ),
        (
            "gspo",
            {"objective.policy.loss": "geo_mean", "objective.policy.share": "prompt_mean"},
            "set objective.policy.share=",
        ),
        (
            "gspo",
            {"objective.policy.select": "top_entropy"},
            "and objective.policy.select=top_entropy chooses among tokens",
        ),
        *(
            (
                "gspo",
                {"objective.policy.loss": loss, "objective.policy.correction": [correction]},
                f"weighs single tokens; {fits}, or set objective.policy.loss=gspo_token",
            )
            for loss in ("gspo", "geo_mean")
            for correction, fits in (
                ({"kind": "importance"}, "set its level to sequence or geometric"),
                ({"kind": "reject", "high": 2.0, "over": "token"}, "set its over to sum, mean or max"),
                ({"kind": "m2po"}, "take reject with over=max instead"),
            )
        ),
        (
            "dapo",
            {"max_new_tokens": 50, "advantage.overlong.limit": 96},
            "counts up to 96 tokens, and answers have room for 50; set advantage.overlong.limit=50",
        ),
        (
            "ppo",
            {"natural": {}, "critic": {"shared_trunk": True, "updates_per_step": 1}},
            "set critic.shared_trunk=false",
        ),
        ("remax", {"rollout": "groups"}, "compares with greedy answers, and this run writes none"),
        (
            "rloo",
            {"updates_per_step": 2},
            "which is wrong after the first of 2 updates; set updates_per_step=1",
        ),
        (
            "grpo",
            {"old": "behaviour", "objective.policy.correction": ["importance"]},
            "set trainer=current in it, or old=",
        ),
        ("ppo", {"critic": {"pretrain_steps": -1}}, "critic.pretrain_steps is -1; it must be at least 0"),
        (
            "ppo",
            {"critic": {"pretrain_steps": 2, "shared_trunk": True, "updates_per_step": 1}},
            "trunk cannot learn before it",
        ),
        (
            "ppo",
            {"critic.pretrain_steps": 2, "advantage.credit.lam": 0.9},
            "advantage.credit.lam is 0.9; set it to 1",
        ),
        ("vapo", {"advantage.credit.lam_critic": 0.9}, "advantage.credit.lam_critic is 0.9; set it to 1"),
    ],
)
def test_combinations_without_sense_are_refused(name, change, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        changed(recipe(name), change)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (
            "grpo",
            {
                "objective.policy.loss": "gspo",
                "objective.policy.share": "constant",
                "objective.policy.share.length": 9,
            },
        ),
        ("gspo", {"objective.policy.loss": "gspo_token", "objective.policy.select": "top_entropy"}),
        ("gspo", {"objective.policy.select": "correct"}),
        ("dapo", {"max_new_tokens": 50, "advantage.overlong": {"limit": 50, "buffer": 10}}),
        ("ppo", {"advantage.credit": "vapo"}),
        ("ppo", {"advantage": {"credit": "grpo"}, "critic": None}),
        (
            "rloo",
            {
                "objective.policy.correction": [{"kind": "importance", "trainer": "current"}],
                "updates_per_step": 2,
            },
        ),
        ("grpo", {"old": "behaviour", "updates_per_step": 4}),
        ("rloo", {"objective.policy.loss": "cispo", "updates_per_step": 4, "rollout": "dynamic_sampling"}),
        (
            "opo",
            {
                "objective.policy": {"loss": "sapo", "share": "prompt_mean", "select": "top_entropy"},
                "updates_per_step": 2,
            },
        ),
        ("maxrl", {"objective.kl": KL_TERM, "reference": "frozen", "objective.policy.loss": "kl_cov"}),
    ],
)
def test_parts_of_one_recipe_go_with_those_of_another(name, change):
    assert changed(recipe(name), change) != recipe(name)


@pytest.mark.parametrize(
    "settings",
    [  # every kind of correction of docs/numerics.md, 6.3 to 6.5, as typed
        ["objective.policy.correction=[{kind: importance, high: 2}]"],
        ["objective.policy.correction=[{kind: importance, low: .5, high: 2}]"],
        ["objective.policy.correction=[{kind: importance, level: sequence, high: 2}]"],
        ["objective.policy.correction=[{kind: importance, outside: drop, low: .5, high: 5}]"],
        ["objective.policy.correction=[{kind: importance, level: sequence, outside: drop, high: 3}]"],
        ["objective.policy.correction=[{kind: reject, low: .999, high: 1.002}, {kind: importance, high: 2}]"],
        *(
            [
                f"objective.policy.correction=[{{kind: reject, divergence: {divergence}, over: {over}, "
                f"high: 1.5}}]"
            ]
            for divergence in ("k1", "k2", "k3")
            for over in ("token", "sum", "mean", "max")
        ),
        ["objective.policy.correction=[{kind: importance, high: 2, normalise: true}]"],
        ["old=behaviour"],
        ["old=behaviour", "objective.policy.correction=[{kind: reject, high: 2, trainer: current}]"],
        ["objective.policy.loss=pg", "objective.policy.correction=[{kind: importance, trainer: current}]"],
    ],
)
def test_text_of_another_policy_from_the_command_line(settings):
    config = changed(recipe("grpo"), dict(override(each) for each in settings))
    assert config.models.policy.old == "behaviour" or config.objective["policy"].correction


FORMAT_1 = json.loads((Path(__file__).parent / "data" / "settings_of_format_1.json").read_text())
"""Recipe -> the settings that a run.json had when each stood at the top."""


def test_a_refusal_names_the_optimiser_once():
    for change in ({"learning_rate": -1}, {"optimiser.betas": [2, 0.9]}, {"final_fraction": 2}):
        with pytest.raises(UserError, match=r"^in models\.policy\.optimiser: \w+ (is|are) ") as refused:
            changed(recipe("grpo"), change)
        assert str(refused.value).count("optimiser") == 1


@pytest.mark.parametrize("name", FORMAT_1)
def test_settings_of_format_1_are_those_of_the_recipe(name):
    """Those of dapo named the longest answer twice; realhf_ppo ignored that its answers are truncated, and
    gave the end of a cut answer no value."""
    ignored = {"truncation": "ignored", "advantage.credit.bootstrap_truncated": False}
    was = {"dapo": {"advantage.overlong": {"limit": 96, "buffer": 19}}, "realhf_ppo": ignored}
    assert read(RunConfig, settings_of_format_1(FORMAT_1[name])) == changed(recipe(name), was.get(name, {}))


def test_a_run_that_graded_observations_goes_on_as_it_began():
    older = json.loads(json.dumps(plain_data(changed(recipe("calculator"), {"max_turns": 3}))))
    assert read(RunConfig, settings_as_begun(older)).source.graded_text == "policy"
    del older["source"]["graded_text"]
    assert read(RunConfig, settings_as_begun(older)).source.graded_text == "all"
    older["source"]["environment"] = None
    assert read(RunConfig, settings_as_begun(older)).source.graded_text == "policy"


def test_a_run_that_wrote_ahead_goes_on_with_that_staleness():
    older = json.loads(json.dumps(plain_data(changed(recipe("grpo"), {"staleness": 2}))))
    older["source"]["ahead"] = older["source"].pop("staleness")
    assert read(RunConfig, settings_as_begun(older)).source.staleness == 2
    first = settings_of_format_1(FORMAT_1["grpo"] | {"ahead": 3})
    assert read(RunConfig, first).source.staleness == 3


def test_settings_of_format_1_that_were_changed():
    flat = FORMAT_1["ppo"] | {
        "steps": 3,
        "template": "orz",
        "updates_per_step": 2,
        "threads": 2,
        "old": "behaviour",
    }
    flat["critic"] = flat["critic"] | {"updates_per_step": 6}
    expected = changed(
        recipe("ppo"),
        {"steps": 3, "template": "orz", "updates_per_step": 2, "threads": 2, "old": "behaviour"},
        {"critic.updates_per_step": 6},
    )
    assert read(RunConfig, settings_of_format_1(flat)) == expected
    with pytest.raises(UserError, match=r"control\.steps is 'many'; it takes a whole number"):
        read(RunConfig, settings_of_format_1(flat | {"steps": "many"}))


def test_questions_by_difficulty_are_not_chosen_ahead():
    with pytest.raises(
        UserError,
        match=r"^in source: order=by_difficulty .* staleness=2 .*; set staleness=0 or order=shuffled$",
    ):
        changed(BASE, {"staleness": 2, "order": "by_difficulty"})


def test_given_text_is_not_arranged():
    with pytest.raises(UserError, match="arrange chooses among answers that the policy writes, and this run"):
        changed(recipe("dpo"), {"arrange.pairs": "best_worst"})
