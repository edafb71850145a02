"""Environments of verifiers, with the package where it is installed."""

import math
import sys
import textwrap
from types import ModuleType

import pytest

from menon.errors import UserError
from menon.rollout.environments.verifiers import Verifiers, loaded
from menon.rollout.turns import Turns, environment_alone
from menon.types import Prompt, Request, Sampling
from scripted import ScriptedSampler, question

OWN = '''
import verifiers as vf
from datasets import Dataset


class Doubling(vf.MultiTurnEnv):
    """Says a number; right answers double it, three times."""

    async def env_response(self, messages, state, **kwargs):
        state["value"] = state.get("value", int(state["answer"])) * 2
        return [{"role": "user", "content": f"now {state['value']}"}]

    @vf.stop
    async def thrice(self, state):
        return len(state["trajectory"]) == 3


def last(completion, answer, **kwargs):
    return float(completion[-1]["content"] == str(4 * int(answer)))


def load_environment(count=20, fails=False):
    rows = [{"prompt": [{"role": "user", "content": f"start {i}"}], "answer": str(i)} for i in range(count)]
    if fails:
        raise ValueError("no data")
    return Doubling(dataset=Dataset.from_list(rows), rubric=vf.Rubric(funcs=[last]))
'''


def test_a_missing_package_or_another_version_is_one_sentence(monkeypatch):
    loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(UserError, match=r"install it by pip install .*\[verifiers\]'"):
        Verifiers("own")
    monkeypatch.setitem(sys.modules, "verifiers", ModuleType("verifiers"))
    with pytest.raises(UserError, match=r"menon takes versions 0\.1"):
        Verifiers("own")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self, tmp_path, monkeypatch):
        library = pytest.importorskip("verifiers")
        if not hasattr(library, "load_environment"):
            pytest.skip("another version of verifiers")
        (tmp_path / "doubling.py").write_text(textwrap.dedent(OWN))
        monkeypatch.syspath_prepend(str(tmp_path))

    def played(self, said, **settings):
        own = Verifiers("doubling", **settings)
        rows = own.rows("train", 3, 0)
        prompts = [
            Prompt(i, question(i).tokens, str(row["question"]), row["answer"], row)
            for i, row in enumerate(rows)
        ]
        requests = [Request(prompt, Sampling(60)) for prompt in prompts]
        turns = Turns(
            own,
            lambda text, before: [ord(c) for c in text],
            lambda tokens: "".join(chr(t) for t in tokens if t),
            time_limit=20,
        )
        return turns(requests, range(3), ScriptedSampler(said), environment_alone)

    def test_turn_by_turn(self):
        def said(request):
            start = request.prompt.index
            turn = bytes(request.prefix.astype("u1")).count(b"now")
            return str(start * 2**turn) if start < 2 else "7"

        graded = self.played(said)
        assert [g.verdict.score for g in graded] == [1, 1, 0]
        assert graded[1].rollout.text == "1\nnow 2\n2\nnow 4\n4"
        marks = "".join(map(str, graded[1].rollout.is_action.astype(int)))
        assert marks == "000" + "11" + "0" * 7 + "11" + "0" * 7 + "11"
        assert graded[1].rollout.reward[-1] == 1
        assert [g.rollout.finish for g in graded] == ["stop"] * 3

    def test_a_cut_answer_is_not_scored_and_its_rollout_is_ended(self):
        graded = self.played(lambda request: "x" * 100)
        assert [(g.rollout.finish, g.verdict.score) for g in graded] == [("length", 0.0)] * 3

    def test_chat_markup(self):
        graded = self.played(lambda request: "1", before="[u]", after="[a]", chat=True)
        assert graded[1].rollout.text == "1[u]now 2[a]1[u]now 4[a]1"
        assert Verifiers("doubling", chat=True).rows("train", 1, 0)[0]["question"] == [
            {"role": "user", "content": "start 0"}
        ]

    def test_rows_without_an_evaluation_set_are_divided(self):
        own = Verifiers("doubling")
        assert (own.room("train"), own.room("heldout")) == (18, 2)
        assert [row["question"] for row in own.rows("heldout", 5, 0)] == ["start 9", "start 19"]

    def test_what_cannot_be_loaded_is_told(self):
        with pytest.raises(UserError, match="cannot load the environment 'nothing_here'"):
            Verifiers("nothing_here")
        with pytest.raises(UserError, match="no data"):
            Verifiers("doubling", {"fails": True})
        with pytest.raises(UserError, match=r"set environment.environment"):
            Verifiers()

    def test_an_environment_that_fails_gives_nan(self, monkeypatch):
        own = Verifiers("doubling")

        async def broken(*args, **kwargs):
            raise RuntimeError("lost")

        monkeypatch.setattr(type(own.load()), "env_response", broken)
        graded = self.played(lambda request: "1")
        assert all(math.isnan(g.verdict.score) for g in graded)
        assert "lost" in graded[0].verdict.error
