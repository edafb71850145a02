"""Whole trees from a script, up to the advantage of each token."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from menon.advantage import SegmentCredit
from menon.batch import pack
from menon.errors import UserError
from menon.rollout.replay import Replay
from menon.rollout.tree_growth import TreeShape
from menon.rollout.trees import Trees
from menon.state_codec import decode, encode
from menon.types import Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler

SAMPLING = Sampling(max_new_tokens=8)
WRITTEN = {
    (0,): "aabb",  # two tokens, and goes on
    (1,): "b",  # ends early
    (0, 0): "cccc",
    (0, 1): "d",
    (0, 0, 0): "right",
    (0, 0, 1): "no",
}
"""What is written on each way through a tree of 2-2-2, two tokens on each level above the last."""


def script(request):
    return WRITTEN[request.path]


def named(*right):
    """1 for answers that end so."""

    def grade(rollout):
        good = float(rollout.text.endswith(right))
        return Verdict(good, good)

    return grade


def trees(prompts=1, branching=(2, 2, 2), segment_tokens=(2,), sampling=SAMPLING, **replay):
    given = {
        "edges_per_question": replay.get("per_question", 32),
        "edges_per_step": replay.get("per_step", 0),
        "max_age": replay.get("max_age", 8),
    }
    return Bound(Trees(branching, segment_tokens, **given), prompts, 1, sampling)


def grown(grade, made=None, written=script):
    made = made or trees()
    sampler = ScriptedSampler(written)
    graded, metrics, state = made(Queue(), sampler, grade, made.init())
    return graded, {name: float(metric) for name, metric in metrics.items()}, state, sampler


def own_advantages(graded, method="rloo"):
    batch = SegmentCredit(method)(pack(graded))
    rows = []
    for g, start, end in zip(graded, batch.offset.tolist(), batch.offset.tolist()[1:], strict=False):
        assert batch.advantage[start:end][~batch.is_action[start:end]].abs().sum() == 0
        rows.append([round(a, 6) for a in batch.advantage[start:end][batch.is_action[start:end]].tolist()])
        assert len(rows[-1]) == int(g.rollout.is_action.sum())
    return rows


def test_what_is_asked():
    """Each level of the tree, from the tokens of the level above, with the room of its level."""
    graded, _, _, sampler = grown(named("b"), trees(sampling=Sampling(9)))
    assert [(g.rollout.node, g.rollout.parent, g.rollout.depth) for g in graded] == [
        (1, 0, 1),
        (2, 0, 1),
        (3, 1, 2),
        (4, 1, 2),
        (5, 3, 3),
        (6, 3, 3),
    ]
    assert [g.rollout.text for g in graded] == ["aa", "b", "aacc", "aad", "aaccright", "aaccno"]
    assert ["".join(map(chr, request.prefix)) for request in sampler.asked] == [
        "",
        "",
        "aa",
        "aa",
        "aacc",
        "aacc",
    ]
    assert [request.sampling.max_new_tokens for request in sampler.asked] == [2, 2, 2, 2, 5, 5]
    assert [request.path for request in sampler.asked] == [(0,), (1,), (0, 0), (0, 1), (0, 0, 0), (0, 0, 1)]


def test_values_go_up_and_edges_are_what_a_node_adds():
    """right (1), no (0), d (0), b (1): V(aacc) = 1/2, V(aa) = 1/4, V(root) = 5/8."""
    graded, metrics, _, _ = grown(named("right", "b"), trees(sampling=Sampling(10)))
    assert [g.verdict.score for g in graded] == [0.25, 1, 0.5, 0, 1, 0]
    assert own_advantages(graded) == [
        [-0.375] * 2,
        [0.375] * 2,
        [0.25] * 2,
        [-0.25] * 2,
        [0.5] * 6,
        [-0.5] * 3,
    ]
    assert own_advantages(graded, "leave_one_out") == [
        [-0.75] * 2,
        [0.75] * 2,
        [0.5] * 2,
        [-0.5] * 2,
        [1] * 6,
        [-1] * 3,
    ]
    assert [row[0] for row in own_advantages(graded, "grpo")] == [-1, 1, 1, -1, 1, -1]
    assert all(g.learn for g in graded)
    assert metrics["acc/mean"] == metrics["reward/mean"] == 0.625
    # Leaves weigh 1/2 (b), 1/4 (d), 1/8 and 1/8: lengths 2, 4, 10, 7.
    assert metrics["len/mean"] == 1 + 1 + 10 / 8 + 7 / 8
    assert metrics["len/correct"] == (1 + 10 / 8) / (5 / 8)
    assert (metrics["tree/nodes"], metrics["tree/leaves"], metrics["tree/early_leaves"]) == (6, 4, 2)
    assert metrics["tokens/generated"] == 2 + 2 + 2 + 2 + 6 + 3
    assert metrics["stop_rate"] == 1


def test_each_token_carries_loss_once():
    graded, metrics, _, _ = grown(named("right", "b"), trees(sampling=Sampling(10)))
    batch = pack(graded)
    assert int(batch.trained.sum()) == metrics["tokens/generated"]


def test_a_last_leaf_that_is_cut_is_worth_nothing():
    """ "right" has room for 4 of its letters, and what is there would be right."""
    graded, metrics, _, _ = grown(lambda rollout: Verdict(1.0, 1.0))
    assert [g.verdict.score for g in graded if g.rollout.depth == 3] == [0, 1]
    assert metrics["trunc_rate"] == 1 / 8


def test_numbers_that_are_no_truth_give_no_accuracy():
    """Not even of the leaf that is cut, which is worth nothing."""
    _, metrics, _, _ = grown(lambda rollout: Verdict(0.5, math.nan, guessed=True))
    assert metrics["reward/mean"] > 0
    assert not {"acc/mean"} & metrics.keys()


def test_all_leaves_equal_teach_nothing():
    graded, metrics, state, _ = grown(named("nothing"))
    assert not any(g.learn for g in graded)
    assert own_advantages(graded) == [[0] * int(g.rollout.is_action.sum()) for g in graded]
    assert (metrics["tree/edges"], metrics["tree/silent"], state["edges"]) == (0, 1, [])
    assert not pack(graded).trained.any()


def test_a_node_all_of_whose_children_failed():
    """Nothing is known below aacc: worth 0, and neither its edge nor its children's are learned from."""

    def grade(rollout):
        return (
            Verdict(math.nan, math.nan, error="boom")
            if rollout.text.startswith("aacc")
            else named("b")(rollout)
        )

    graded, metrics, _, _ = grown(grade, trees(sampling=Sampling(10)))
    assert [g.learn for g in graded] == [True, True, False, False, False, False]
    assert graded[2].verdict.score == 0
    assert pack(graded).valid.tolist() == [True, True, True, True, False, False]
    assert metrics["acc/mean"] == 0.5


def test_answers_that_the_sampler_gave_up_count_as_failed():
    class Gives(ScriptedSampler):
        def write(self, requests):
            for completion in super().write(requests):
                yield replace(completion, finish="abort") if completion.request.path == (1,) else completion

    made = trees(sampling=Sampling(10))
    graded, _, _ = made(Queue(), Gives(script), named("right"), made.init())
    assert math.isnan(graded[1].verdict.score)
    assert graded[0].rollout.states[3].value == 0.25  # of the one child that is known
    assert not graded[1].learn


def test_an_answer_that_was_given_up_before_its_first_token():
    class Gives(ScriptedSampler):
        def write(self, requests):
            for completion in super().write(requests):
                if completion.request.path == (1,):
                    none = {
                        name: getattr(completion, name)[:0]
                        for name in ("tokens", "logp", "log_kept", "entropy", "version")
                    }
                    completion = replace(completion, finish="abort", **none)
                yield completion

    made = trees(sampling=Sampling(10))
    graded, _, _ = made(Queue(), Gives(script), named("right"), made.init())
    assert not graded[1].rollout.states
    batch = pack(graded)
    assert (
        int((~batch.state_value.isnan()).sum()) == len(graded) - 1
    )  # a state at no token of another sequence


def test_early_leaves_are_those_above_the_last_level_whatever_was_reached():
    _, metrics, _, _ = grown(named("yes"), trees(1, (4, 2), (30,), Sampling(60)), lambda request: "yes")
    assert (metrics["tree/early_leaves"], metrics["tree/leaves"]) == (4, 4)


def test_any_branching_and_a_budget_for_each_level():
    def letters(request):
        return "x" * 30

    graded, metrics, _, sampler = grown(named("x"), trees(2, (3, 1, 2), (1, 4), Sampling(9)), letters)
    sizes = {1: 3, 2: 3, 3: 6}
    assert Counter((g.rollout.group, g.rollout.depth) for g in graded) == {
        (g, d): sizes[d] for g in (0, 1) for d in sizes
    }
    rooms = {1: 1, 2: 4, 3: 4}
    assert all(request.sampling.max_new_tokens == rooms[len(request.path)] for request in sampler.asked)
    assert metrics["tokens/generated"] == 2 * (3 + 3 * 4 + 6 * 4)
    names = {(r.prompt.index, r.path) for r in sampler.asked}
    assert len(names) == len(sampler.asked)


def test_one_level_is_a_group():
    graded, _, _, _ = grown(named("1"), trees(1, (4,), (30,)), lambda request: str(request.path[0]))
    assert own_advantages(graded) == [[-0.25] * 2, [0.75] * 2, [-0.25] * 2, [-0.25] * 2]


def test_the_levels_of_all_trees_are_asked_together():
    calls = []

    class Counting(ScriptedSampler):
        def write(self, requests):
            calls.append(len(list(requests)))
            return super().write(requests)

    made = trees(3, sampling=Sampling(10))
    made(Queue(), Counting(script), named("right"), made.init())
    assert calls == [6, 6, 6]


def wide(request):
    """An answer that is right for an even child."""
    return "yes" if request.path[-1] % 2 == 0 else "no"


def test_edges_wait_for_their_turn():
    """Four edges, of which two are trained in a step; a question that comes up adds its own four."""
    made, queue, sampler = trees(1, (4,), per_question=2, max_age=3), Queue(), ScriptedSampler(wide)
    state = made.init()
    seen = []
    for step in range(4):
        sampler.version = step
        graded, metrics, state = made(
            queue, sampler, named("yes"), decode(encode(state, tensors := {}), tensors)
        )
        fresh, old = [g for g in graded if not g.age], [g for g in graded if g.age]
        assert len(fresh) == 4
        assert sum(g.learn for g in fresh) == 2
        assert all(g.learn for g in old)
        assert [int(g.rollout.version[-1]) for g in old] == [step - g.age for g in old]
        assert len({g.rollout.group for g in old} | {0}) == len({g.rollout.prompt.index for g in old}) + 1
        seen.append(
            (sorted(g.age for g in old), float(metrics["replay/waiting"]), float(metrics["replay/dropped"]))
        )
        for edge in old:  # whole, and with the log-probs of the sampler that wrote it
            assert edge.rollout.logp[edge.rollout.is_action].tolist() == [-1] * int(
                edge.rollout.is_action.sum()
            )
            assert own_advantages([edge])[0][0] in (0.5, -0.5)
    assert seen == [([], 2, 0), ([1, 1], 2, 0), ([1, 1], 2, 0), ([1, 1], 2, 0)]


def test_edges_of_a_question_with_many_are_dropped_when_they_are_too_old():
    made, queue, sampler = trees(1, (6,), per_question=1, max_age=2), Queue(), ScriptedSampler(wide)
    state, dropped = made.init(), []
    for _ in range(3):
        graded, metrics, state = made(queue, sampler, named("yes"), state)
        dropped.append(float(metrics["replay/dropped"]))
        assert max(g.age for g in graded) <= 1
    # Six edges: one is trained at once, one in the next step, four are too old for the third.
    assert dropped == [0, 4, 4]


def test_on_policy_edges_never_wait():
    made = trees(1, (4,), per_question=2, max_age=1)
    _, metrics, state, _ = grown(named("yes"), made, wide)
    assert (state["edges"], metrics["replay/dropped"]) == ([], 2)


def test_a_question_that_comes_again_has_no_more_edges_in_a_step():
    class Again(Queue):
        def take(self, count):
            visit = self.taken
            return [(prompt, visit) for prompt, _ in Queue().take(len(super().take(count)))]

    made, queue, sampler = trees(1, (4,), per_question=2, max_age=9), Again(), ScriptedSampler(wide)
    state = made.init()
    for waiting in (2, 4, 6):
        graded, metrics, state = made(queue, sampler, named("yes"), state)
        assert sum(g.learn for g in graded) == 2
        assert float(metrics["replay/waiting"]) == waiting
        assert len({(g.rollout.visit, g.rollout.group) for g in graded}) == len(
            {g.rollout.group for g in graded}
        )


def test_a_bound_on_a_step_takes_newer_edges_first():
    made, queue, sampler = (
        trees(1, (4,), per_question=3, per_step=3, max_age=9),
        Queue(),
        ScriptedSampler(wide),
    )
    state = made.init()
    for waiting in (1, 2, 3):
        graded, metrics, state = made(queue, sampler, named("yes"), state)
        assert sum(g.learn and not g.age for g in graded) == 3
        assert not [g for g in graded if g.age]
        assert float(metrics["replay/waiting"]) == waiting


def test_graders_that_want_all_at_once_are_asked_once_for_all_trees():
    class Batched:
        sizes: list[int] = []  # noqa: RUF012

        def __call__(self, rollout):
            raise AssertionError

        def grade_all(self, rollouts):
            self.sizes.append(len(rollouts))
            return [named("right", "b")(rollout) for rollout in rollouts]

    made, grade = trees(sampling=Sampling(10)), Batched()
    graded, _, _ = made(Queue(), ScriptedSampler(script), grade, made.init())
    assert [g.verdict.score for g in graded] == [0.25, 1, 0.5, 0, 1, 0]
    assert grade.sizes == [4]
    grade.sizes.clear()
    made(Queue(), ScriptedSampler(lambda request: "x" * 30), grade, made.init())
    assert grade.sizes == []  # no answer ended, on any level


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: trees(segment_tokens=(4,)),
            "the levels above the last take 8 tokens .4-4., and answers have room for 8",
        ),
        (lambda: trees(branching=()), "branching is empty"),
        (lambda: trees(branching=(6, 0)), "branching is 6-0; it takes numbers of children, like 6-6-6"),
        (
            lambda: trees(segment_tokens=(1, 1, 1)),
            "segment_tokens is 1-1-1; it takes one number, or one for each of the 2 levels",
        ),
        (lambda: trees(segment_tokens=(0,)), "segment_tokens is 0"),
        (lambda: trees(0), "prompts_per_step is 0"),
        (lambda: Replay(per_question=0), "per_question is 0"),
        (lambda: Replay(max_age=0), "max_age is 0"),
        (lambda: Replay(per_step=-1), "per_step is -1"),
    ],
)
def test_refused(made, said):
    with pytest.raises(UserError, match=said):
        made()


def test_the_size_of_a_full_tree():
    """Six children with 30 tokens, 36 with 30, 216 with 36, behind a prompt of 60."""
    shape = TreeShape((6, 6, 6), (30,))
    assert shape.most_tokens(60, 96) == 60 + 180 + 1080 + 7776
    assert shape.most_nodes() == 258
