"""Tasksets and environments of verifiers (v1), with the package where it is installed."""

import math
import sys
import textwrap
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.rollout.environments.verifiers import Verifiers, loaded
from menon.rollout.turns import Turns, environment_alone
from menon.types import Prompt, Request, Sampling
from scripted import ScriptedSampler, complete, question

OWN = '''
import verifiers.v1 as vf

__all__ = ["DoublingTaskset", "DoublingEnv"]


class Config(vf.TasksetConfig):
    count: int = 20
    fails: bool = False


class Data(vf.TaskData):
    answer: str


class DoublingTask(vf.Task[Data, vf.State, vf.TaskConfig]):
    @vf.reward
    async def last(self, trace) -> float:
        branch = trace.branches[-1]
        if self.data.answer == "3":
            raise ValueError("lost")
        scored = [logp for node in branch.nodes for logp in node.logprobs]
        assert len(scored) == sum(branch.sampled_mask) and set(scored) == {-1.0}
        return float(branch.messages[-1].content == str(4 * int(self.data.answer)))


class DoublingEnvConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig()


class DoublingEnv(vf.Env[DoublingEnvConfig]):
    """Says a number; right answers double it, three times."""

    async def run(self, task, agents):
        value = int(task.data.answer)
        async with agents.player.interaction(task) as talk:
            segment = await talk.turn()
            for _ in range(2):
                if segment.terminated:
                    break
                value *= 2
                segment = await talk.turn(f"now {value}")


class DoublingTaskset(vf.Taskset[DoublingTask, Config]):
    def load(self):
        if self.config.fails:
            raise ValueError("no data")
        for i in range(self.config.count):
            data = Data(prompt=f"start {i}", system_prompt="Double." if i == 1 else None, answer=str(i))
            yield DoublingTask(data, self.config.task)
'''
SINGLE = """
import verifiers.v1 as vf

__all__ = ["SingleTaskset"]


class SingleTask(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):
    @vf.reward(weight=0.5)
    async def good(self, trace) -> float:
        return 1.0


class SingleTaskset(vf.Taskset[SingleTask, vf.TasksetConfig]):
    INFINITE = True

    def load(self):
        place = 0
        while True:
            yield SingleTask(vf.TaskData(prompt=f"task {place}"), self.config.task)
            place += 1
"""
TOOLS = SINGLE.replace(
    "    @vf.reward",
    """    @classmethod
    def toolsets(cls, config):
        return [vf.Toolset(vf.ToolsetConfig())]

    @vf.reward""",
).replace("Single", "Tools")
BOX = SINGLE.replace("    @vf.reward", "    NEEDS_CONTAINER = True\n\n    @vf.reward").replace(
    "Single", "Box"
)
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'][0] }}]{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|endoftext|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)
SOURCES = {"doubling_v1": OWN, "single_v1": SINGLE, "tools_v1": TOOLS, "box_v1": BOX}


def test_a_missing_package_or_another_version_is_one_sentence(monkeypatch):
    loaded.cache_clear()
    monkeypatch.delitem(sys.modules, "verifiers.v1", raising=False)
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(UserError, match=r"install it by pip install .*\[verifiers\]'"):
        Verifiers("own")
    monkeypatch.setitem(sys.modules, "verifiers", ModuleType("verifiers"))
    with pytest.raises(UserError, match=r"has no verifiers\.v1; install version 0\.4 by pip install"):
        Verifiers("own")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self, tmp_path, monkeypatch):
        pytest.importorskip("verifiers.v1")
        for name, text in SOURCES.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        self.tokenizer = tiny_tokenizer()
        self.tokenizer.chat_template = TEMPLATE
        export(tiny_model("qwen3", context=512), self.tokenizer, tmp_path / "model")
        self.folder = str(tmp_path / "model")

        def ends(request, text, version=0):
            found = complete(request, text, version)
            return replace(
                found, tokens=np.where(found.tokens == 0, self.tokenizer.eos_token_id, found.tokens)
            )

        monkeypatch.setattr("scripted.complete", ends)
        loaded.cache_clear()

    def played(self, said, taskset="doubling-v1", size=200, count=3):
        own = Verifiers(taskset, tokenizer=self.folder)
        rows = own.rows("train", count, 0)
        prompts = [
            Prompt(i, question(i).tokens, str(row["question"]), row["answer"], row)
            for i, row in enumerate(rows)
        ]
        requests = [Request(prompt, Sampling(size)) for prompt in prompts]
        turns = Turns(
            own,
            lambda text, before: [ord(c) for c in text],
            lambda tokens: str(self.tokenizer.decode(tokens, skip_special_tokens=True)),
            time_limit=60,
        )
        return turns(requests, range(count), ScriptedSampler(said), environment_alone)

    def test_turn_by_turn_in_the_librarys_own_tokens(self):
        def said(request):
            start = request.prompt.index
            turn = self.tokenizer.decode(request.prefix.tolist()).count("now")
            return str(start * 2**turn) if start < 2 else "7"

        graded = self.played(said)
        assert [g.verdict.score for g in graded] == [1, 1, 0]
        assert [g.rollout.finish for g in graded] == ["stop"] * 3
        rollout, end = graded[1].rollout, "<|endoftext|>"
        whole = f"[s]Double.[u]start 1[a]1{end}[u]now 2[a]2{end}[u]now 4[a]4{end}"
        assert self.tokenizer.decode(rollout.tokens.tolist()) == whole
        assert self.tokenizer.decode(rollout.prompt.tokens.tolist()) == "[s]Double.[u]start 1[a]"
        marks = "".join(map(str, rollout.is_action.astype(int)))
        assert marks == "0" * 23 + "11" + "0" * 11 + "11" + "0" * 11 + "11"
        assert rollout.graded_text == "1\n2\n4"
        assert rollout.reward[-1] == 1
        assert rollout.logp[rollout.is_action].tolist() == [-1] * 6

    def test_a_turn_that_reads_otherwise_as_text_keeps_its_tokens(self):
        """A byte that is no character; the library renders it again as the sign for such bytes."""
        (graded,) = self.played(lambda request: "\xc8", count=1)
        tokens = graded.rollout.tokens[graded.rollout.is_action].tolist()
        assert tokens == [200, self.tokenizer.eos_token_id] * 3
        assert "[u]now 0[a]" in self.tokenizer.decode(graded.rollout.tokens.tolist())

    def test_single_turns_of_an_endless_taskset(self):
        own = Verifiers("single-v1")
        assert own.room("train") > 10**5
        assert [row["question"][0]["content"] for row in own.rows("heldout", 2, 0)] == ["task 9", "task 19"]
        graded = self.played(lambda request: "hm", "single-v1", count=2)
        assert [(g.verdict.score, g.rollout.num_actions) for g in graded] == [(0.5, 3)] * 2

    def test_a_cut_answer_is_not_scored(self):
        graded = self.played(lambda request: "x" * 300)
        assert [(g.rollout.finish, g.verdict.score) for g in graded] == [("length", 0.0)] * 3
        graded = self.played(lambda request: "1", size=5)  # the rendered prompt leaves no room
        assert [(g.rollout.finish, g.rollout.num_actions) for g in graded] == [("length", 0)] * 3

    def test_rows_are_divided(self):
        own = Verifiers("doubling-v1")
        assert (own.room("train"), own.room("heldout")) == (18, 2)
        assert own.rows("heldout", 5, 0) == [
            {"question": [{"role": "user", "content": f"start {i}"}], "answer": str(i), "task": i}
            for i in (9, 19)
        ]
        assert Verifiers("doubling-v1", {"count": 30}).room("train") == 27

    def test_what_cannot_be_loaded_is_told(self):
        with pytest.raises(UserError, match="cannot load the taskset 'nothing-here'"):
            Verifiers("nothing-here")
        with pytest.raises(UserError, match="no data"):
            Verifiers("doubling-v1", {"fails": True}).room("train")
        with pytest.raises(UserError, match=r"cannot load the taskset 'doubling-v1': .*cuont"):
            Verifiers("doubling-v1", {"cuont": 3})
        with pytest.raises(UserError, match=r"set environment.taskset"):
            Verifiers()
        with pytest.raises(UserError, match="has the seats assistant, user, and a policy takes one"):
            Verifiers("doubling-v1", environment="user-sim")
        for name, need in (("tools", "tool servers"), ("box", "a container")):
            with pytest.raises(
                UserError, match=f"the tasks of '{name}-v1' need {need}, and the policy's seat is"
            ):
                Verifiers(f"{name}-v1")

    def test_an_environment_that_fails_gives_nan(self):
        graded = self.played(lambda request: "1", count=4)
        assert [math.isnan(g.verdict.score) for g in graded] == [False, False, False, True]
        assert "the environment failed: " in graded[3].verdict.error
        assert "lost" in graded[3].verdict.error
