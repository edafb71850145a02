"""Parts of the user's: what they leave out has a default, their faults are theirs, and what they return is
checked at the first call."""

from dataclasses import dataclass, make_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from batches import random_batch
from menon.advantage import GRPO, Whiten
from menon.assembly.own_parts import own_credit, own_reference, own_rollout, own_term
from menon.assembly.questions import questions, questions_of
from menon.columns import estimator
from menon.config import OnlineSource, RunConfig, changed, setup_of
from menon.engines.in_process import InProcessHost
from menon.errors import UserError
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.loss.ratio import log_ratio
from menon.prompts.tasks import ChainSum
from menon.recipes import recipe
from menon.reward.code.signatures import Asked, judge
from menon.rollout.groups import Groups
from menon.rollout.protocols import Collected
from menon.types import Max, Mean
from menon.update.host import Job
from menon.update.objective import cut, loss_of, prepare
from menon.update.protocols import VALUE
from menon.update.reference import HardReset
from menon.update.terms import MiniBatch, Term, Update

BATCH = random_batch()
N, S, A = BATCH.num_tokens, BATCH.num_sequences, int(BATCH.trained.sum())
LOGP = torch.linspace(-3, -1, N)


def own(call: Any = None, **attributes: Any) -> Any:
    """A user's part of this call, at line 1 of no known file."""
    members = attributes | ({} if call is None else {"__call__": call})
    return make_dataclass("Own", [], frozen=True, namespace=members | {"__module__": __name__})()


@dataclass(frozen=True)
class Plain:
    """The shortest loss: a policy gradient with a ratio."""

    def __call__(self, now, batch):
        return -batch.advantage * (now["logp"] - batch.old_logp).exp()


def job_of(term: Any, batch: Any = BATCH, first: bool = True, old: Any = "trainer") -> Job:
    update = Update({"policy": own_term(term, "objective.policy")}, old=old)
    return prepare(MiniBatch(update, torch.arange(S), first), batch, InProcessHost({}))


def loss_value(term: Any, **settings: Any) -> tuple[float, torch.Tensor]:
    """The loss of one update, and its gradient by log-prob [N]."""
    logp = LOGP.clone().requires_grad_()
    (micro,) = cut(job_of(term, **settings), 10_000)
    loss, _ = loss_of({"logp": logp[:N]}, replace(micro, batch=replace(micro.batch)))
    loss.backward()
    assert logp.grad is not None
    return float(loss.detach()), logp.grad


def test_a_loss_of_one_method_has_the_gradient_of_ppo_in_every_update():
    """Without `unit`, `needs`, `reads` and `metrics`. In the first update old is new, so the ratio is 1; in
    the second it is not, and the old log-probs are asked for."""
    ours = Term(PPOClip(clip_low=0.9, clip_high=9), TokenMean())
    old = replace(BATCH, old_logp=LOGP + 0.1)
    for settings in ({"first": True}, {"first": False, "batch": old}):
        loss, grad = loss_value(Term(Plain(), TokenMean()), **settings)
        expected, gradient = loss_value(ours, **settings)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert grad == pytest.approx(gradient, rel=1e-5, abs=1e-9)
    term = own_term(Term(Plain(), TokenMean()), "objective.policy")
    assert (term.loss.unit, term.loss.needs, term.loss.reads) == ("token", ("logp",), ("old_logp",))
    assert own_term(ours, "x") == ours


@pytest.mark.parametrize(
    "call",
    [
        lambda self, now, batch: now["logp"] - batch.old_logp,
        lambda self, now, batch: batch.old_logp.exp() * now["logp"],
        lambda self, now, batch: log_ratio(now, batch),
        lambda self, now, batch: now["logp"] * (1 if batch.old_logp is None else batch.old_logp),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_loss_that_does_not_read_the_old_log_probs_cannot_use_them(call, first):
    """It would find none in later updates, and take the new ones for them: a ratio of 1."""
    with pytest.raises(
        UserError, match=r"RuntimeError: it uses batch.old_logp; add 'old_logp' to its `reads`"
    ):
        loss_value(Term(own(call, reads=("ref_logp",)), TokenMean()), first=first)


def test_a_loss_that_reads_nothing_is_used():
    loss = own(lambda self, now, batch: -batch.advantage * now["logp"], reads=())
    assert loss_value(Term(loss, TokenMean()))[1].abs().sum() > 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda self, now, batch: now["logp"].mean(),
            f"returned a tensor of shape [], not [{N}], one per token "
            "(leave out the mean or sum: share= says how much each token weighs)",
        ),
        (
            lambda self, now, batch: now["logp"][:S],
            f"returned a tensor of shape [{S}], not [{N}], one per token "
            "(this is one per answer; spread it by .repeat_interleave(batch.lengths))",
        ),
        (lambda self, now, batch: now["logp"][:, None], f"returned a tensor of shape [{N}, 1], not [{N}]"),
        (lambda self, now, batch: None, f"returned None, not [{N}], one per token"),
        (
            lambda self, now, batch: now["logp"].detach(),
            "returned numbers without gradient; compute them from",
        ),
        (
            lambda self, now, batch: now["logp"] > 0,
            f"returned a tensor of shape [{N}] of torch.bool, not of fl",
        ),
        (
            lambda self, now, batch: now["logp"] / 0,
            f"returned -inf on {A} of {A} trained tokens; make all finite",
        ),
        (lambda self, now, batch: now["value"], "raised KeyError: 'value' (test_own_parts.py:"),
        (
            lambda self, now, batch: now["value"],
            "(it is a column of the batch: batch.value); a loss is called",
        ),
        (
            lambda self, now, batch: now["entropi"],
            "(a forward pass gave logp; name what else it should give in",
        ),
        (
            lambda self, now, batch: now["logp"] - batch.ref_logp,
            "(batch.ref_logp is None; add 'ref_logp' to its",
        ),
        (lambda self: 0, "raised TypeError: "),
    ],
)
def test_a_loss_that_cannot_be_used(call, sentence):
    with pytest.raises(UserError) as error:
        loss_value(Term(own(call), TokenMean()))
    assert str(error.value).startswith("objective.policy.loss=test_own_parts.py:Own r")
    assert sentence in str(error.value)
    assert "docs/your_own.md" in str(error.value)


def in_place(self, now, batch):
    return now["logp"].clone().mul_(batch.advantage.mul_(2))


def test_a_part_that_changes_what_others_read_is_refused():
    with pytest.raises(
        UserError, match=r"changed batch.advantage in place, which others read; make a new tensor"
    ):
        loss_value(Term(own(in_place), TokenMean()), batch=replace(BATCH, advantage=torch.ones(N)))
    doubles = own(lambda self, now, batch: now["logp"].mul_(2) * batch.advantage)
    doubled = own_term(Term(doubles, TokenMean()), "objective.policy").loss
    with pytest.raises(UserError, match=r"changed now\['logp'\] in place"):
        doubled({"logp": LOGP.clone().requires_grad_() * 1}, BATCH)


def test_an_infinite_loss_of_tokens_that_do_not_count_is_none():
    """Values divided by correctness, on tokens of right answers only: their sum."""

    def per_right(self, now, batch):
        return 0 * now["logp"] + batch.value / batch.acc.repeat_interleave(batch.lengths)

    loss = own(per_right)
    select = own(lambda self, batch: batch.acc.repeat_interleave(batch.lengths) > 0)
    value, _ = loss_value(Term(loss, TokenMean(), select))
    right = BATCH.acc.repeat_interleave(BATCH.lengths).bool() & BATCH.trained
    assert BATCH.value is not None
    assert value == pytest.approx(float(BATCH.value[right].sum() / A))


def test_only_the_first_call_is_checked():
    results = [torch.zeros(N), torch.full((N,), torch.nan)]
    loss = own_term(Term(own(lambda self, now, batch: now["logp"] + results.pop(0)), TokenMean()), "x").loss
    now = {"logp": LOGP.clone().requires_grad_()}
    assert loss(now, BATCH).isfinite().all()
    assert loss(now, BATCH).isnan().all()


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (
            {"select": own(lambda self, batch: batch.entropy)},
            ".select=test_own_parts.py:Own returned a tensor of "
            f"shape [{N}] of torch.float32, not of bools; compare, as in x > 0",
        ),
        ({"select": own(lambda self, batch: batch.acc > 0)}, f"returned a tensor of shape [{S}], not [{N}]"),
        (
            {"select": own(lambda self, batch: 1 / 0)},
            ".select=test_own_parts.py:Own raised ZeroDivisionError",
        ),
        (
            {"select": own(lambda self, batch: batch.trained, prepare=lambda self, batch, current: 3)},
            "returned a value of type int from prepare, not a dict of columns",
        ),
        (
            {"select": own(lambda self, batch: batch.trained, prepare=lambda self, batch, current: {"a": 3})},
            f"prepared 'a' as a value of type int, not [{N}]",
        ),
        (
            {"share": own(lambda self, batch, selected: 1.0)},
            f".share=test_own_parts.py:Own returned a value of type float, not [{N}]",
        ),
        (
            {"share": own(lambda self, batch, selected: batch.reward + 1)},
            "other than 0 outside of `selected`",
        ),
        (
            {"share": own(lambda self, batch, selected: selected / 0)},
            f"returned inf on {A} of {A} trained tokens",
        ),
    ],
)
def test_a_selection_or_an_aggregation_that_cannot_be_used(term, sentence):
    with pytest.raises(UserError) as error:
        job_of(Term(**({"loss": PPOClip(), "share": TokenMean()} | term)))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda self, logp, batch: logp, "returned weights below 0"),
        (lambda self, logp, batch: 2.0, f"returned a value of type float, not [{N}]"),
    ],
)
def test_a_correction_that_cannot_be_used(call, sentence):
    with pytest.raises(UserError, match=r"objective.policy.correction=test_own_parts.py:Own") as error:
        loss_value(Term(PPOClip(), TokenMean(), correction=(own(call),)))
    assert sentence in str(error.value)


def test_parts_that_select_and_weigh_are_used():
    """Twice the weight on every second token: the sum of -2 A over those, as the ratio is 1."""
    every = torch.arange(N) % 2 == 0
    term = Term(
        Plain(),
        own(lambda self, batch, selected: selected.float()),
        own(lambda self, batch: batch.columns["every"], prepare=lambda self, b, current: {"every": every}),
        correction=(own(lambda self, logp, batch: torch.full_like(logp, 2)),),
    )
    value, _ = loss_value(term)
    assert BATCH.advantage is not None
    assert value == pytest.approx(float(-2 * BATCH.advantage[every & BATCH.trained].sum()), rel=1e-5)


def test_metrics_say_how_they_add_up():
    now = {"logp": LOGP.clone().requires_grad_()}

    def measured(metrics: Any) -> Any:
        loss = own(lambda self, now, batch: now["logp"], metrics=lambda self, now, batch: metrics)
        return own_term(Term(loss, TokenMean()), "objective.policy").loss.metrics(now, BATCH)

    assert measured({"a": Mean(1, 2), "b": Max(3)}) == {"a": Mean(1, 2), "b": Max(3)}
    with pytest.raises(
        UserError, match="returned the metric 'a' as a value of type float; say how it adds up, by Mean"
    ):
        measured({"a": 0.5})
    with pytest.raises(UserError, match="returned a value of type float from metrics, not a dict"):
        measured(0.5)


def credited(part: Any, must: bool = True, batch: Any = None) -> Any:
    parts = own_credit({"mine": part}, "mine" if must else "")
    return parts["mine"](replace(BATCH, advantage=None) if batch is None else batch)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda self, batch: None,
            "returned None, not a batch; end with `return replace(batch, advantage",
        ),
        (lambda self, batch: batch, "set no advantage; end with"),
        (
            lambda self, batch: replace(batch, advantage=batch.outcome),
            f"set `advantage` to a tensor of shape [{S}]"
            f", not [{N}], one per token (this is one per answer; spread it",
        ),
        (
            lambda self, batch: replace(batch, advantage=batch.reward / 0),
            f"set `advantage` to nan on {A} of {A} trai",
        ),
        (
            lambda self, batch: replace(batch, advantage=batch.token),
            "of torch.int64, not of floats; add .float()",
        ),
        (
            lambda self, batch: replace(batch, advantage=batch.reward.clone().requires_grad_()),
            f"set `advantage` to a tensor of shape [{N}] with gradient; add .detach()",
        ),
        (lambda self, batch: replace(batch, advantage=3), "set `advantage` to a value of type int, not ["),
        (
            lambda self, batch: replace(batch, advantage=batch.reward, learn=batch.trained),
            "set `learn` to a tens",
        ),
        (
            lambda self, batch: replace(batch, advantage=batch.reward, learn=batch.acc),
            "set `learn` to torch.float32, not to bools; compare, as in x > 0",
        ),
        (
            lambda self, batch: replace(batch, advantage=batch.reward, columns={"a": 1}),
            "set the column 'a' to a ",
        ),
        (
            lambda self, batch: random_batch(3),
            f"returned 3 answers of 17 tokens in place of {S} of {N}; to leave",
        ),
        (lambda self, batch: batch.rewards, "has no attribute 'rewards' (test_own_parts.py:"),
        (lambda self, batch: batch.rewards, "(did you mean batch.reward?); an advantage is called"),
        (
            lambda self, batch: setattr(batch, "advantage", batch.reward),
            "(make a new one with `replace(batch, advantage=...)` of dataclasses)",
        ),
        (
            lambda self, batch: batch.state_value + 1,
            "(batch.state_value is None; add 'state_value' to its `reads`)",
        ),
    ],
)
def test_an_advantage_that_cannot_be_used(call, sentence):
    with pytest.raises(UserError) as error:
        credited(own(call))
    assert str(error.value).startswith("advantage.mine=test_own_parts.py:Own ")
    assert sentence in str(error.value)


def test_an_advantage_is_used_as_it_stands():
    credit = torch.arange(S).float().repeat_interleave(BATCH.lengths)
    part = own(lambda self, batch: replace(batch, advantage=credit))
    assert credited(part).advantage is credit
    assert own_credit({"credit": GRPO()}, "credit") == {"credit": GRPO()}
    shaping = own(lambda self, batch: replace(batch, reward=batch.reward + 1))
    assert credited(shaping, must=False).reward.sum() == N


def test_a_part_with_a_state():
    counts = own(
        lambda self, batch, state: (replace(batch, advantage=batch.reward), state + 1), init=lambda self: 2
    )
    part = own_credit({"mine": counts}, "mine")["mine"]
    assert part.init() == 2  # type: ignore[attr-defined]
    assert part(BATCH, 2)[1] == 3
    assert part.after(3, {}) == 3  # type: ignore[attr-defined]
    learns = own(counts.__call__, init=lambda self: 2, after=lambda self, state, metrics: state * 2)
    assert own_credit({"mine": learns}, "")["mine"].after(3, {}) == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "state", "sentence"),
    [
        (
            lambda self, batch, state: batch,
            0,
            "has `init`, and returned a value of type Batch, not (batch, state); return both",
        ),
        (lambda self, batch, state: (batch, {1}), 0, "its state holds a set; state holds numbers, strings"),
        (lambda self, batch, state: (1, 0), 0, "returned a value of type int, not a batch"),
    ],
)
def test_a_part_with_a_state_that_cannot_be_used(call, state, sentence):
    with pytest.raises(UserError) as error:
        own_credit({"mine": own(call, init=lambda self: 0)}, "")["mine"](BATCH, state)
    assert sentence in str(error.value)
    with pytest.raises(UserError, match="its state holds a set"):
        own_credit({"mine": own(call, init=lambda self: {1})}, "")["mine"].init()  # type: ignore[attr-defined]


BASE = recipe("grpo")


def configured(*changes: Any) -> RunConfig:
    return changed(BASE, *changes)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"needs": "logp"}, "has needs = 'logp'; write needs = ('logp',)"),
        ({"reads": "old_logp"}, "has reads = 'old_logp'; write reads = ('old_logp',)"),
        ({"reads": ("old_logp", 3)}, "has reads = ('old_logp', 3); it holds names of columns"),
        ({"unit": "tokens"}, "has unit = 'tokens'; it is one of token, sequence, pair, group"),
        ({"needs": ("logp", "advantage")}, "needs 'advantage', which a forward pass does not give"),
        ({"reads": ("ref_logp",)}, "compares with a reference, and this run has none; set reference=frozen"),
        (
            {"reads": ("old_logps",)},
            "reads 'old_logps', which nothing before it fills; did you mean 'old_logp'?",
        ),
        ({"needs": (VALUE,)}, "needs a critic, and this run has none"),
    ],
)
def test_what_a_loss_declares_is_read_before_the_run(attributes, sentence):
    loss = own(lambda self, now, batch: now["logp"], **attributes)
    with pytest.raises(UserError) as error:
        configured({"objective.policy.loss": loss})
    assert str(error.value).startswith("objective.policy.loss")
    assert sentence in str(error.value)


def test_a_loss_of_a_critic_says_what_it_needs():
    learns = own(lambda self, now, batch: (now["value"] - batch.ret) ** 2)
    with pytest.raises(UserError, match=r"or say needs = \(VALUE,\) of menon.update.protocols$"):
        changed(recipe("ppo"), {"critic.objective.value.loss": learns})
    says = own(lambda self, now, batch: (now["value"] - batch.ret) ** 2, needs=(VALUE,))
    assert (
        changed(recipe("ppo"), {"critic.objective.value.loss": says}).models.critic.objective["value"].loss
        is says
    )


def test_the_part_that_must_set_advantages_is_known():
    mine = own(lambda self, batch: batch)
    estimators = [
        ({}, "credit"),
        ({"advantage.credit": mine}, "credit"),
        ({"advantage": {"length": mine, "credit": GRPO()}}, ""),
        ({"advantage": {"credit": mine, "whiten": Whiten()}}, "credit"),
        ({"objective.policy.loss": Plain(), "advantage.credit": mine}, ""),
    ]
    for change, name in estimators:
        assert estimator(setup_of(configured(change))) == name, change


def test_rewards_that_change_after_an_estimator_of_the_users_are_refused():
    mine = own(lambda self, batch: batch)
    with pytest.raises(
        UserError, match=r"advantage.late changes rewards and so comes before advantage.credit"
    ):
        configured({"advantage": {"credit": mine, "late": "truncated_reward"}})
    assert list(configured({"advantage": {"early": "truncated_reward", "credit": mine}}).advantage) == [
        "early",
        "credit",
    ]
    shaping = {"early": mine, "late": "truncated_reward", "credit": "grpo"}
    assert list(configured({"advantage": shaping}).advantage) == list(shaping)


@pytest.mark.parametrize(
    ("rows", "room", "sentence"),
    [
        (lambda self, split, n: [], 5, "task=test_own_parts.py:Own raised TypeError: "),
        (
            lambda self, split, n, seed: 1 / 0,
            5,
            "raised ZeroDivisionError: division by zero (test_own_parts.py:",
        ),
        (
            lambda self, split, n, seed: [],
            5.0,
            "returned 5.0 from room; return the number of rows of a split",
        ),
        (lambda self, split, n, seed: {}, 5, "returned a dict from rows, not a list"),
        (lambda self, split, n, seed: ["2+2="], 5, "returned the row '2+2=', not a dict with 'question'"),
        (
            lambda self, split, n, seed: [{"question": "a", "answer": 4}],
            5,
            "returned the answer 4 of a row, not a",
        ),
    ],
)
def test_a_task_that_cannot_be_used(rows, room, sentence):
    with pytest.raises(UserError) as error:
        questions_of(own(rows=rows, room=lambda self, split: room), "task", "train", 9, 0)
    assert sentence in str(error.value)


def test_a_failing_grade_is_named_as_that_of_the_task():
    @dataclass(frozen=True)
    class Graded:
        def grade(self, prompt, completion, answer):
            return None

    verdict = judge(Graded().grade, "menon", Asked("q", "a", "b"))
    assert verdict.error.startswith("grade of test_own_parts.py:")
    assert verdict.error.endswith(".Graded returned None instead of a number")


def test_a_task_is_asked_for_as_many_rows_as_it_has():
    asked = []
    task = own(
        rows=lambda self, split, n, seed: (
            asked.append((split, n, seed)) or [{"question": "1", "answer": "1"}]
        ),
        room=lambda self, split: 5,
    )
    assert questions_of(task, "task", "train", 9, 3) == [{"question": "1", "answer": "1"}]
    assert asked == [("train", 5, 3)]
    assert questions_of(ChainSum(), "task", "train", 2, 0) == ChainSum().rows("train", 2, 0)


def test_held_out_questions_that_are_trained_on_are_counted_for_the_user():
    task = own(
        rows=lambda self, split, n, seed: [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(n)],
        room=lambda self, split: np.int64(9 if split == "train" else 4),
        grade=lambda self, prompt, completion, answer: 1.0,
    )
    notes: list[str] = []
    train, heldout = questions(OnlineSource(task=task), 0, notes.append)
    assert (len(train), len(heldout)) == (9, 4)
    assert [note.partition(",")[0] for note in notes] == [
        "4 of the 4 held-out questions of Own are trained on too"
    ]
    questions(OnlineSource(), 0, notes.append)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda self, *around: [],
            "rollout=test_own_parts.py:Own returned a value of type list, not menon.rollout",
        ),
        (
            lambda self, *around: Collected([3]),
            "collected something else than graded answers (menon.types.Graded)",
        ),
        (lambda self: 0, "rollout=test_own_parts.py:Own raised TypeError: "),
    ],
)
def test_a_rollout_that_cannot_be_used(call, sentence):
    with pytest.raises(UserError) as error:
        own_rollout(own(call))(1, 2, 3, 4)
    assert sentence in str(error.value)


def test_rollouts_and_references_are_used_as_they_stand():
    keeps = own(lambda self, *around: Collected([], state=around[-1] + 1), init=lambda self: 4)
    rollout = own_rollout(keeps)
    assert rollout(1, 2, 3, 4, rollout.init()).state == 5
    assert own_rollout(Groups()) == Groups()
    calls: list[Any] = []
    own_reference(own(lambda self, step, host: calls.append((step, host))))(3, "host")
    assert calls == [(3, "host")]
    assert own_reference(None) is None
    assert own_reference(HardReset()) == HardReset()
    with pytest.raises(UserError, match=r"^reference_update=test_own_parts.py:Own raised TypeError"):
        own_reference(own(lambda self: 0))(3, "host")
