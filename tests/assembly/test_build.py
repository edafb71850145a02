"""From a configuration to the parts of a run."""

import json
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.advantage import GRPO
from menon.assembly.build import build
from menon.assembly.models import device_of
from menon.assembly.questions import apart, stop_of
from menon.assembly.run import configured
from menon.base import BASES
from menon.config import OnlineSource, RunConfig, changed
from menon.engines.hf_models import export
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loop import Run
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.recipes import recipe
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.groups import Groups
from menon.settings import plain_data
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.types import Sampling
from menon.update.terms import Term
from tiny_run import models_of, online

BASE = RunConfig(
    advantage={"credit": GRPO()},
    objective={"policy": Term(PPOClip(), TokenMean())},
    source=OnlineSource(max_new_tokens=8, heldout=6),
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A random model in an ordinary folder."""
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3"), tiny_tokenizer(), path)
    return path


def jsonl(path: Path, rows: int) -> Path:
    path.write_text(
        "".join(json.dumps({"question": f"{i}+{i}=", "answer": 2 * i}) + "\n" for i in range(rows))
    )
    return path


@pytest.fixture
def built(folder):
    """Builds runs that end with the test."""
    with ExitStack() as open_runs:

        def entered(**settings) -> Run:
            config = changed(BASE, {"model": str(folder), "device": "cpu", **settings})
            return open_runs.enter_context(build(config))

        yield entered


def heldout_of(run: Run) -> list[str]:
    return [prompt.text for prompt in run.evaluate.func.prompts]


def test_the_parts_of_a_plain_run(built):
    run = built(prompts_per_step=3, steps=9, save_every=4)
    assert (online(run).rollout, online(run).around.prompts_per_step) == (Groups(), 3)
    assert (online(run).around.samples_per_prompt, online(run).around.sampling) == (8, Sampling(8))
    assert isinstance(run.channel, ByReference)
    assert list(run.host.roles) == ["policy"]
    policy = models_of(run)["policy"]
    assert isinstance(policy, TorchLearner)
    assert online(run).sampler.model is policy.model  # nothing can be stale
    assert (run.steps, run.save_every, policy.optimiser) == (9, 4, BASE.models.policy.optimiser)
    (prompt, visit), *_ = online(run).prompts.take(1)
    assert prompt.text.endswith("=?")
    assert visit == 0
    assert bytes(prompt.tokens.tolist()).decode() == prompt.text


def test_the_evaluation_is_at_temperature_1_and_the_same_each_time(built):
    run = built(temperature=0.5, seed=3)
    first, second = run.evaluate(), run.evaluate()
    assert len(first) == 6
    assert [g.rollout.tokens.tolist() for g in first] == [g.rollout.tokens.tolist() for g in second]
    assert [g.rollout.prompt.text for g in first] == [g.rollout.prompt.text for g in built().evaluate()]
    rollout = first[0].rollout
    with torch.no_grad():
        logp_LV = (
            models_of(run)["policy"].model(torch.tensor([rollout.tokens.tolist()])).logits[0].log_softmax(-1)
        )
    place = len(rollout.prompt.tokens)
    assert rollout.logp[place] == pytest.approx(float(logp_LV[place - 1, rollout.tokens[place]]), abs=1e-4)


def test_a_critic_and_a_reference_start_from_the_policys_weights(folder):
    changes = {
        "model": str(folder),
        "reference": "frozen",
        "dtype": "float64",
        "device": "cpu",
        "critic.init": "orz",
    }
    with build(changed(recipe("ppo"), changes)) as run:
        models = models_of(run)
    policy, reference, critic = (models[name].model for name in ("policy", "reference", "critic"))
    for name, weight in policy.named_parameters():
        other = dict(reference.named_parameters())[name]
        assert torch.equal(weight, other)
        assert weight.data_ptr() != other.data_ptr()
        assert weight.dtype == torch.float64
    trunk = dict(critic.trunk.named_parameters())
    assert all(torch.equal(weight, trunk[name]) for name, weight in policy.base_model.named_parameters())
    assert 0 < critic.head.weight.abs().max().item() <= 5**0.5
    assert [update.model for update in run.plan.updates] == ["policy", "critic"]
    assert [update.count for update in run.plan.updates] == [1, 4]


def test_bfloat16_keeps_fp32_weights_and_samples_from_a_copy(built):
    run = built(dtype="bfloat16")
    policy = models_of(run)["policy"]
    assert policy.autocast == torch.bfloat16
    assert {w.dtype for w in policy.weights().values()} == {torch.float32}
    assert {w.dtype for w in online(run).sampler.weights().values()} == {torch.bfloat16}
    assert isinstance(run.channel, ByCopy)


def test_dynamic_sampling_gets_its_own_settings(built):
    run = built(rollout=DynamicSampling(lo=0.1, hi=0.9, max_rounds=3, prompts_per_round=5, min_groups=2))
    assert online(run).rollout == DynamicSampling(0.1, 0.9, 5, 3, 2)


OWN = """
from dataclasses import dataclass, replace

from menon.rollout.groups import answer_groups
from menon.rollout.protocols import Collected

@dataclass(frozen=True)
class Backwards:
    "Groups, the last prompt first."
    def __call__(self, prompts, sampler, grade, around):
        asked = prompts.take(around.prompts_per_step)
        groups = answer_groups(asked, around.samples_per_prompt, around.sampling, sampler, grade)
        return Collected([one for group in reversed(groups) for one in group])

@dataclass(frozen=True)
class Seeded:
    "The seed of the run, which only build can tell."
    scale: float = 1.0
    seed: int = -1
    def build(self, around):
        return replace(self, seed=around.seed)
    def __call__(self, prompt, completion, answer):
        return self.seed * self.scale
"""


def test_a_rollout_and_a_reward_of_ones_own(built, tmp_path):
    """Neither gives sizes, columns or checks: what is missing has its usual meaning."""
    (tmp_path / "own.py").write_text(OWN)
    own = {
        "rollout": f"{tmp_path}/own.py:Backwards",
        "reward": {"kind": f"{tmp_path}/own.py:Seeded", "scale": "0.5"},
    }
    run = built(prompts_per_step=2, samples_per_prompt=2, seed=3, **own)
    gathered = run.source.next()
    assert [g.rollout.group for g in gathered.graded] == [1, 1, 0, 0]
    assert {g.verdict.score for g in gathered.graded} == {1.5}


def test_data_is_split_by_a_hash_of_the_question(built, tmp_path):
    file = jsonl(tmp_path / "d.jsonl", 40)
    run = built(data=str(file))
    held = set(heldout_of(run))
    trained = {prompt.text for prompt in online(run).prompts.prompts}
    assert (len(held), len(trained)) == (4, 36)
    assert not held & trained
    rows = [{"question": f"{i}+{i}=", "answer": str(2 * i)} for i in range(40)]
    for order in (rows, rows[::-1], rows + rows[:7]):  # neither order nor doubled rows carry a question over
        assert {row["question"] for row in apart(order, 6, "f")[1]} == held
    assert len(apart(rows, 2, "f")[1]) == 2


def test_golds_that_fail_their_verifier_are_listed_before_anything_trains(built, tmp_path):
    rows = [{"problem": f"{i}+{i}=", "answer": f"{2 * i}" if i % 4 else "}{"} for i in range(12)]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"row \d+ \('(\d+)\+\1=', answer '\}\{'\): its own answer earns 0"):
        built(data=str(path))


def test_a_task_without_held_out_questions_is_refused(built, tmp_path):
    lines = ["from dataclasses import dataclass", "@dataclass(frozen=True)", "class One:"]
    lines += [
        "    def rows(self, split, n, seed):",
        "        return [{'question': '1+1=', 'answer': '2'}][:n]",
    ]
    lines += ["    def room(self, split):", "        return 1 if split == 'train' else 0"]
    lines += ["    def grade(self, prompt, completion, answer):", "        return 0.0"]
    (tmp_path / "one.py").write_text("\n".join(lines))
    with pytest.raises(
        UserError, match=r"^One\(\) has no held-out question; give it settings that allow more questions$"
    ):
        built(task=f"{tmp_path / 'one.py'}:One")


def test_answers_end_where_those_of_the_template_did():
    assert stop_of(changed(BASE, {"template": "drgrpo_r1"}).source) == ("</answer>",)
    assert stop_of(changed(BASE, {"template": "drgrpo_r1", "stop": ["\n"]}).source) == ("\n",)
    assert stop_of(BASE.source) == ()


def test_held_out_data_of_its_own(built, tmp_path):
    data, other = jsonl(tmp_path / "a.jsonl", 5), jsonl(tmp_path / "b.jsonl", 9)
    run = built(data=str(data), heldout_data=str(other))
    assert (len(online(run).prompts.prompts), len(heldout_of(run))) == (5, 6)


def test_bad_rows_stop_or_are_left_out_and_told(built, folder, tmp_path):
    file = jsonl(tmp_path / "d.jsonl", 10)
    file.write_text(file.read_text() + "no json\n" + json.dumps({"question": "1" * 200, "answer": 1}) + "\n")
    with pytest.raises(UserError, match="line 11"):
        built(data=str(file))
    told: list[str] = []
    config = changed(BASE, {"model": str(folder), "data": str(file), "on_bad": "skip", "device": "cpu"})
    with build(config, told.append) as run:
        assert len(online(run).prompts.prompts) + len(heldout_of(run)) == 10
    assert told == [
        f"1 rows of {file} cannot be used and are left out",
        "1 questions are left out: they do not fit into the model's context, or the chat template refuses "
        "them",
    ]


def test_one_question_is_not_enough(built, tmp_path):
    with pytest.raises(UserError, match="holds one question only"):
        built(data=str(jsonl(tmp_path / "d.jsonl", 1)))


def told_of(folder: Path, rows: list[dict], file: Path, **settings: object) -> list[str]:
    """What a run on these rows is told before it begins."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    config = changed(BASE, {"model": str(folder), "device": "cpu", "data": str(file), **settings})
    with build(config, told.append):
        return told


def test_rows_that_do_not_say_what_is_asked(folder, tmp_path):
    """The instruction without its input: one for all rows is refused, a few are named."""
    file = tmp_path / "a.jsonl"
    rows = [{"question": "Add.", "input": f"{i} and {i}", "answer": str(2 * i)} for i in range(30)]
    with pytest.raises(UserError) as caught:
        told_of(folder, rows, file)
    assert str(caught.value) == (
        f"all 30 rows of {file} ask the same question ('Add.'); name the column that tells them apart with "
        "columns.question= (other columns: input)"
    )
    for i, row in enumerate(rows):
        row["question"] = ("Add.", "Sum up.")[i % 2] if i else "0+0="
    (said,) = told_of(folder, rows, file)
    assert said.startswith(f"29 of 30 rows of {file} ask what another row asks and have another answer; name")
    assert told_of(folder, [{"question": f"{i}=", "answer": "1"} for i in range(30)], file) == []


def test_choices_that_the_question_does_not_show(folder, tmp_path):
    file = tmp_path / "m.jsonl"
    rows = [{"question": f"{i}?", "choices": ["one", "two"], "answer": "A"} for i in range(20)]
    for part in ("choice", {"kind": "choice"}):
        with pytest.raises(UserError) as caught:
            told_of(folder, rows, file, reward=part)
        assert str(caught.value) == (
            f"20 of 20 questions of {file} do not show their choices, which are in the column choices; write "
            "these into the question, as A. ... B. ..., and the answer as the letter (A for 0)"
        )
    (said,) = told_of(folder, rows, file)
    assert "20 of 20 questions" in said
    arc = {"choices": {"text": ["one", "two"], "label": ["A", "B"]}}
    assert len(told_of(folder, [row | arc for row in rows], file)) == 1
    shown = [row | {"question": f"{i}? A. one B. two"} for i, row in enumerate(rows)]
    assert told_of(folder, shown, file, reward="choice") == []
    with pytest.raises(UserError, match="its own answer is no letter from A to J; write 0 as A, 1 as B"):
        told_of(folder, [row | {"answer": 2} for row in shown], file, reward="choice")


def test_held_out_questions_that_are_trained_on(folder, tmp_path):
    rows = [{"question": f"{i}+{i}=", "answer": str(2 * i)} for i in range(10)]
    other = jsonl(tmp_path / "b.jsonl", 12)
    (said,) = told_of(folder, rows[3:], tmp_path / "a.jsonl", heldout_data=str(other), heldout=9)
    assert said.startswith(f"6 of the 9 held-out questions of {other} are in {tmp_path / 'a.jsonl'} too and")
    assert (
        told_of(folder, [{"question": "1", "answer": "1"}], tmp_path / "a.jsonl", heldout_data=str(other))
        == []
    )


def test_a_reward_by_name_runs_apart_and_is_closed(folder, tmp_path):
    (tmp_path / "own.py").write_text(
        "def score(prompt, completion, answer, **columns):\n    return len(completion) / 100\n"
    )
    config = changed(BASE, {"model": str(folder), "device": "cpu", "reward": f"{tmp_path / 'own.py'}:score"})
    with build(config) as run:
        graded = run.evaluate()
        assert [g.verdict.score for g in graded] == [len(g.rollout.text) / 100 for g in graded]
        worker = online(run).grade.reward.isolated.worker
        pid = worker.pid
        assert psutil.pid_exists(pid)
    assert worker.pid == 0
    assert not psutil.pid_exists(pid)


def test_devices():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type in ("cpu", "cuda")
    for name in ("tpu", "meta", "cuda:99"):
        with pytest.raises(UserError, match=name):
            device_of(name)


@pytest.mark.parametrize(
    ("count", "end"),
    [(0, "no GPU here; use device=cpu"), (2, "only cuda:0, cuda:1 here; use one of these or cpu")],
)
def test_a_gpu_that_is_not_there(count, end, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UserError) as error:
        device_of("cuda:2")
    assert str(error.value) == f"device is 'cuda:2', and torch sees {end}"


def test_no_built_in_model_is_one_sentence(monkeypatch, tmp_path):
    for name, corpus in (("base", "sums"), ("search_base", "search")):
        monkeypatch.setitem(BASES, name, tmp_path)
        with pytest.raises(
            UserError,
            match=f"'{name}' is missing here; make one with `menon pretrain corpus={corpus} out=my-base`",
        ):
            build(changed(BASE, {"device": "cpu", "model": name})).__enter__()


@pytest.mark.parametrize(("able", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_dtype_auto_is_settled_before_the_run_and_written_down(able, dtype, monkeypatch):
    monkeypatch.setattr("menon.engines.machine.has_bf16", lambda device: able)
    for change in ({"dtype": "auto"}, {"engine": {"dtype": "auto"}}, {"engine.dtype": "auto"}):
        config = configured("grpo", [change, {"device": "cpu"}], 1)
        assert plain_data(config)["engine"]["dtype"] == dtype
