"""Answers in turns, token by token with a scripted sampler."""

import math
import re
import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

from menon.batch import pack
from menon.errors import UserError
from menon.reward.choice import MultipleChoice
from menon.reward.grade import grading_of
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.environments.protocol import EpisodeFailed
from menon.rollout.groups import Groups
from menon.rollout.turns import Turns, environment_alone
from menon.types import Request, Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler, is_gold, question


def tokenize(text: str, before=()) -> list[int]:
    return [ord(letter) for letter in text]


def decode(tokens) -> str:
    return "".join(chr(token) for token in tokens if token)


@dataclass
class Echo:
    """Answers `ab` with `<ab1>`, then `<..2>` and so on, for `turns` turns; turn n earns n."""

    turns: int = 3
    first: str = ""
    stop: ClassVar[tuple[str, ...]] = ("!",)
    heard: list[str] = field(default_factory=list, init=False)

    def reset(self, prompt, seed):
        self.seed = seed
        return self.first

    def step(self, text):
        self.heard.append(text)
        n = len(self.heard)
        return f"<{text}{n}>", float(n), n == self.turns


SAID = {0: "ab", 1: "c", 2: "def"}


def script(request: Request) -> str:
    """By the turn: how many observations the prefix holds."""
    return SAID[decode(request.prefix.tolist()).count("<")]


def played(environment, said=script, size: int = 100, samples: int = 1, grade=None, **settings):
    sampler = ScriptedSampler(said, version=4)
    turns = Turns(environment, tokenize, decode, **settings)
    requests = [Request(question(3), Sampling(size), sample) for sample in range(samples)]
    graded = turns(
        requests, [9] * samples, sampler, grade or (lambda rollout: Verdict(10.0, 1.0, {"own": 2.0}))
    )
    return graded, sampler


def test_token_by_token():
    (graded,), sampler = played(Echo(3))
    rollout = graded.rollout
    actions = [[*tokenize(text), 0] for text in SAID.values()]
    observations = [tokenize("<ab1>"), tokenize("<c2>")]
    answer = [*actions[0], *observations[0], *actions[1], *observations[1], *actions[2]]
    assert rollout.tokens.tolist() == [*tokenize("q3="), *answer]
    marks = [0] * 3 + [1] * 3 + [0] * 5 + [1] * 2 + [0] * 4 + [1] * 4
    assert rollout.is_action.astype(int).tolist() == marks
    assert rollout.logp.tolist() == [-mark for mark in marks]
    assert rollout.entropy.tolist() == [mark / 2 for mark in marks]
    assert rollout.version.tolist() == [4 * mark for mark in marks]
    assert rollout.log_kept.tolist() == [0] * len(marks)
    assert rollout.reward.tolist() == [0] * 5 + [1] + [0] * 6 + [2] + [0] * 7 + [3]
    assert (rollout.finish, rollout.group, rollout.text) == ("stop", 9, "ab<ab1>c<c2>def")
    assert rollout.graded_text == "ab\nc\ndef"
    assert rollout.graded_tokens.tolist() == [*actions[0], *actions[1], *actions[2]]
    assert graded.verdict == Verdict(
        16.0, 1.0, {"own": 2.0, "turns": 3.0, "observed": 1.0, "environment": 6.0}
    )
    assert [len(request.prefix) for request in sampler.asked] == [0, 8, 14]
    assert [request.sampling.max_new_tokens for request in sampler.asked] == [100, 92, 86]
    assert all(request.sampling.stop == ("!",) for request in sampler.asked)
    assert {(request.sample, request.visit, request.path, request.purpose) for request in sampler.asked} == {
        (0, 0, (), "train")
    }


def test_an_observation_is_tokenised_after_everything_before_it():
    asked = []

    def go_on(text: str, before) -> list[int]:
        asked.append((decode(before.tolist()), text))
        return tokenize(text)

    turns = Turns(Echo(3, first="hi:"), go_on, decode)
    turns([Request(question(3), Sampling(100))], [0], ScriptedSampler(script), is_gold)
    assert asked == [("q3=", "hi:"), ("q3=hi:ab", "<ab1>"), ("q3=hi:ab<ab1>c", "<c2>")]


def test_the_batch_has_each_reward_on_its_turn_and_the_outcome_on_the_last_action():
    (graded,), _ = played(Echo(3))
    batch = pack([graded])
    assert batch.reward.nonzero()[:, 0].tolist() == [5, 12, 20]
    assert batch.reward[[5, 12, 20]].tolist() == [1, 2, 13]
    assert batch.outcome.tolist() == [16]
    assert batch.action_lengths.tolist() == [9]
    (plain,), _ = played(Echo(1))
    assert pack([plain]).reward.nonzero()[:, 0].tolist() == [5]
    broken = pack([graded.__class__(graded.rollout, Verdict(math.nan, math.nan)), plain])
    assert broken.outcome.tolist() == [0, 11]


def test_an_opening_observation_comes_before_the_first_turn():
    (graded,), sampler = played(Echo(1, first="hi:"), said=lambda request: "x")
    assert graded.rollout.text == "hi:x"
    assert graded.rollout.is_action.astype(int).tolist() == [0] * 6 + [1] * 2
    assert sampler.asked[0].prefix.tolist() == tokenize("hi:")
    assert graded.verdict.parts["observed"] == 0


def test_seeds_are_one_per_visit_of_a_prompt_and_instances_one_per_answer():
    seeds: list[int] = []

    @dataclass
    class Seen(Echo):
        def reset(self, prompt, seed):
            seeds.append(seed)
            return ""

    prototype = Seen(1)
    for request_seed, name in ((0, {}), (0, {}), (1, {}), (0, {"visit": 1}), (0, {"purpose": "evaluate"})):
        turns = Turns(prototype, tokenize, decode, seed=request_seed)
        requests = [Request(question(3), Sampling(9), sample, **name) for sample in range(2)]
        turns(requests, [0, 0], ScriptedSampler(lambda request: "x"), is_gold)
    pairs = [tuple(seeds[i : i + 2]) for i in range(0, len(seeds), 2)]
    assert all(one == other for one, other in pairs)
    assert pairs[0] == pairs[1]
    assert len(set(pairs)) == 4
    assert prototype.heard == []


def test_answers_of_different_numbers_of_turns_keep_their_places():
    def said(request):
        done = decode(request.prefix.tolist()).count("<")
        return f"{request.sample}{done}"

    @dataclass
    class Until(Echo):
        def step(self, text):
            observation, _, _ = super().step(text)
            return observation, 0.0, len(self.heard) > int(text[0])

    graded, sampler = played(Until(), said, samples=3)
    assert [g.rollout.text for g in graded] == ["00", "10<101>11", "20<201>21<212>22"]
    assert [g.verdict.parts["turns"] for g in graded] == [1, 2, 3]
    assert len(sampler.asked) == 6


@pytest.mark.parametrize(
    ("size", "text", "marks"),
    [(2, "ab", "11"), (3, "ab", "111"), (7, "ab", "111"), (9, "ab<ab1>c", "111000001")],
)
def test_the_limit_of_tokens_holds_for_observations_too(size, text, marks):
    """A turn that is cut is not shown to the environment; an observation that leaves no room to answer it is
    left out."""
    (graded,), _ = played(Echo(9), size=size)
    rollout = graded.rollout
    assert (rollout.text, rollout.finish) == (text, "length")
    assert "".join(map(str, rollout.is_action[3:].astype(int))) == marks
    assert graded.verdict.parts["environment"] == (size > 2)


def test_an_environment_that_never_ends_is_cut():
    (graded,), sampler = played(Echo(10**9), said=lambda request: "x", size=10**4, max_turns=5)
    assert graded.rollout.finish == "length"
    assert len(sampler.asked) == 5
    assert graded.verdict.parts["environment"] == 1 + 2 + 3 + 4 + 5
    assert graded.rollout.is_action[-1]


def broken(step):
    @dataclass
    class Broken(Echo):
        def step(self, text):
            return step(text)

    return Broken()


def raises(text):
    raise ValueError("no such move")


WRONG = {
    "raises": (raises, r"the environment Broken raised ValueError: no such move \(test_turns.py:\d+\)"),
    "exits": (lambda text: exit(), "raised SystemExit"),
    "hangs": (lambda text: time.sleep(5), "took longer than 0.2 s"),
    "None": (
        lambda text: None,
        r"returned NoneType 'None' from step; it must be \(observation, reward, done\)",
    ),
    "four": (lambda text: ("", 0, True, {}), "from step; it must be"),
    "bytes": (lambda text: (b"x", 0, True), "returned bytes .* as observation"),
    "word": (lambda text: ("x", "1", True), "returned '1' as reward"),
    "NaN": (lambda text: ("x", math.nan, True), "returned nan as reward"),
    "done": (lambda text: ("x", 1.0, "no"), "returned 'no' for done"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_environment_that_fails_gives_nan_and_harms_no_other(case):
    step, why = WRONG[case]
    (graded,), _ = played(broken(step), time_limit=0.2)
    assert math.isnan(graded.verdict.score)
    assert math.isnan(graded.verdict.acc)
    assert graded.rollout.finish == "abort"
    assert graded.rollout.text == "ab"
    assert re.search(why, graded.verdict.error)
    assert not pack([graded]).valid.any()


def test_a_turn_may_have_a_limit_of_its_own():
    """Where it is cut there, the environment gets it; where the answer's own limit cuts it, it does not."""

    @dataclass
    class Short(Echo):
        most_tokens: int | None = 2

    (graded,), sampler = played(Short(2), said=lambda request: "xyz", size=9)
    assert [request.sampling.max_new_tokens for request in sampler.asked] == [2, 2]
    assert (graded.rollout.text, graded.rollout.finish) == ("xy<xy1>xy", "stop")
    (graded,), sampler = played(Short(2), said=lambda request: "xyz", size=8)
    assert [request.sampling.max_new_tokens for request in sampler.asked] == [2, 1]
    assert (graded.rollout.text, graded.rollout.finish) == ("xy<xy1>x", "length")


def test_an_environment_may_say_what_is_graded_and_why_it_failed():
    @dataclass
    class Sums(Echo):
        answer: str | None = None

        def step(self, text):
            if text == "c":
                raise EpisodeFailed("the letters are used up")
            self.answer = f"{text} and more"
            return super().step(text)

    (graded,), _ = played(Sums(1))
    assert (graded.rollout.graded_text, graded.rollout.text) == ("ab and more", "ab")
    (failed,), _ = played(Sums(3))
    assert failed.verdict.error == "the letters are used up"
    assert failed.rollout.finish == "abort"


def test_an_environment_may_bound_its_calls_and_how_many_are_open():
    running: list[int] = []

    @dataclass
    class Few(Echo):
        at_once: ClassVar[int] = 2
        time_limit: ClassVar[float] = 0.2

        def reset(self, prompt, seed):
            running.append(len(running))
            return ""

        def step(self, text):
            most.append(len(running))
            if text == "3":
                time.sleep(5)
            return super().step(text)

        def close(self):
            running.pop()

    most: list[int] = []
    graded, _ = played(Few(2), said=lambda request: str(request.sample), samples=5)
    assert [g.rollout.text for g in graded] == ["0<01>0", "1<11>1", "2<21>2", "3", "4<41>4"]
    assert graded[3].verdict.error == "the environment Few took longer than 0.2 s"
    assert set(most) == {2, 1}
    assert running == []


def test_environments_are_closed_after_an_interruption():
    closed: list[str] = []

    @dataclass
    class Closing(Echo):
        def close(self):
            closed.append("closed")

    def said(request):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(Closing(2), said, samples=3)
    assert closed == ["closed"] * 3


def test_every_environment_is_closed_once_however_its_episode_ended():
    closed: list[str] = []

    @dataclass
    class Closing(Echo):
        def step(self, text):
            if text == "x":
                raise ValueError
            return super().step(text)

        def close(self):
            closed.append("".join(self.heard))
            raise RuntimeError("closing twice")

    def said(request):
        return "x" if request.sample == 0 else "a"

    graded, _ = played(Closing(2), said, samples=3, size=30)
    assert [g.rollout.finish for g in graded] == ["abort", "stop", "stop"]
    assert sorted(closed) == ["", "aa", "aa"]
    (cut,), _ = played(Closing(9), said=lambda request: "a", size=7)
    assert cut.rollout.finish == "length"
    assert closed[3:] == ["a"]


def test_one_failure_among_others_and_at_reset():
    @dataclass
    class Half(Echo):
        def reset(self, prompt, seed):
            Half.count = getattr(Half, "count", 0) + 1
            if Half.count == 2:
                raise RuntimeError("full")
            return 3 if Half.count == 3 else ""

    graded, _ = played(Half(1), samples=4)
    assert [math.isnan(g.verdict.score) for g in graded].count(True) == 2
    errors = sorted(g.verdict.error for g in graded if g.verdict.error)
    assert errors[0].startswith("the environment Half raised RuntimeError: full")
    assert (
        errors[1]
        == "the environment Half returned int '3' from reset; it must be the first observation, a string"
    )
    sizes = [len(g.rollout.tokens) for g in graded]
    assert sorted(sizes) == [3, 3, 6, 6]
    assert pack(graded).valid.sum() == 2


def test_numpy_numbers_and_truths_are_fine():
    (graded,), _ = played(broken(lambda text: ("x", np.float32(0.5), np.bool_(True))))
    assert graded.verdict.score == 10.5


def test_groups_and_dynamic_sampling_take_turns():
    def said(request):
        return "7" if request.sample == 0 else "8"

    @dataclass
    class Once(Echo):
        def step(self, text):
            return "", float(text == "7"), True

    turns = Turns(Once(), tokenize, decode)
    graded, _ = Bound(Groups(), 2, 2, Sampling(9), answer=turns)(
        Queue(), ScriptedSampler(said), environment_alone
    )
    assert [g.verdict.score for g in graded] == [1, 0, 1, 0]
    assert [g.verdict.acc for g in graded] == [1, 0, 1, 0]
    kept, counts = Bound(DynamicSampling(), 1, 2, Sampling(9), answer=turns)(
        Queue(), ScriptedSampler(said), environment_alone
    )
    assert len(kept) == 2
    assert float(counts["dynamic/groups_kept"]) == 1


def test_a_prefix_and_bad_limits_are_refused():
    turns = Turns(Echo(), tokenize, decode)
    request = Request(question(0), Sampling(9), prefix=np.array([1], dtype=np.int32))
    with pytest.raises(ValueError, match="cannot go on from a prefix"):
        turns([request], [0], ScriptedSampler(script), is_gold)
    with pytest.raises(UserError, match="max_turns"):
        Turns(Echo(), tokenize, decode, max_turns=0)


@dataclass
class Prints:
    """Prints `says` after the first turn; the second one ends the episode."""

    says: str = ""
    first: str = ""
    turn: int = field(default=0, init=False)

    def reset(self, prompt, seed):
        return self.first

    def step(self, text):
        self.turn += 1
        return self.says, 0.0, self.turn == 2


def stated_in(said: list[str], printed: str, first: str, graded_text) -> float:
    """The score of the choice G for an answer whose environment prints something between its two turns."""
    grade = grading_of(MultipleChoice())
    sampler = ScriptedSampler(lambda request: said[bool(tokens_between(request))])

    def tokens_between(request) -> bool:
        return len(request.prefix) > len(first)

    turns = Turns(Prints(printed, first), tokenize, decode, graded_text=graded_text)
    asked = replace(question(3), answer="G")
    (graded,) = turns([Request(asked, Sampling(200))], [0], sampler, grade)
    return graded.verdict.score


@pytest.mark.parametrize(
    ("said", "printed", "first", "policy", "all_of_it"),
    [
        (["hm", "so"], "\nAnswer: G\n", "", 0, 1),
        (["hm", "so"], "", "Answer: G\n", 0, 1),
        (["hm", ""], "\\boxed{G}", "", 0, 1),
        (["\\boxed{", "}"], "G", "", 0, 1),
        (["Answer: ", ""], "G", "", 0, 1),
        (["look", "\\boxed{G}"], "it is G", "", 1, 1),
        (["\\boxed{G}", "done"], "\\boxed{B}", "", 1, 0),
        (["\\boxed{", "G}"], "", "", 1, 1),  # nothing lies between them
    ],
)
def test_a_grader_reads_what_the_policy_wrote(said, printed, first, policy, all_of_it):
    assert stated_in(said, printed, first, "policy") == policy
    assert stated_in(said, printed, first, "all") == all_of_it


@dataclass
class InTokens:
    """Reads tokens, and renders everything itself; `rewrites` changes what was read before."""

    rewrites: bool = False
    whole: list[int] = field(default_factory=list, init=False)

    def reset(self, prompt, seed):
        self.whole = tokenize("[u]hi[a]")
        return np.array(self.whole, dtype=np.int32)

    def step_tokens(self, completion):
        self.whole += [*completion.tokens.tolist(), *tokenize("[u]so[a]")]
        if self.rewrites:
            self.whole[0] += 1
        return np.array(self.whole, dtype=np.int32), 0.5, len(self.whole) > 25


def test_an_environment_may_render_everything_as_tokens():
    (graded,), sampler = played(InTokens(), said=lambda request: "yes", size=40)
    assert decode(graded.rollout.tokens) == "[u]hi[a]yes[u]so[a]yes"
    assert decode(graded.rollout.prompt.tokens) == "[u]hi[a]"  # in place of the run's own
    assert graded.rollout.is_action.astype(int).tolist() == [0] * 8 + [1] * 4 + [0] * 8 + [1] * 4
    assert [request.sampling.max_new_tokens for request in sampler.asked] == [35, 23]
    assert (graded.rollout.graded_text, graded.verdict.parts["environment"]) == ("yes\nyes", 1.0)
    (broken,), _ = played(InTokens(rewrites=True), said=lambda request: "yes", size=40)
    assert broken.verdict.error.endswith("rendered what was read or written before in other tokens")
    (full,), _ = played(InTokens(), said=lambda request: "yes", size=5)
    assert (full.rollout.finish, full.rollout.num_actions) == ("length", 0)
