"""A replay against the gradients of real runs: of the same algorithm, and of another on the same batch."""

import json
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon import step as step_of
from menon.batch import tokens_of
from menon.cli import main
from menon.engines import torch_learner
from menon.errors import UserError
from menon.python import train
from menon.record.reader import RunView
from menon.study.replay import recorded_weights, replay
from menon.types import Verdict

VOCAB = 60
SMALL = {
    "prompts_per_step": 4,
    "samples_per_prompt": 4,
    "max_new_tokens": 9,
    "heldout": 2,
    "steps": 1,
    "learning_rate": 0.02,
    "dtype": "float32",
    "report_questions": 0,
    "record": "full",
    "threads": 1,
    "device": "cpu",
    "seed": 3,
}
TWICE = {"steps": 2}
FLAT = {"rollout": "groups", "updates_per_step": 2}
RUNS = {
    "grpo": FLAT | TWICE,
    "dapo": FLAT,
    "gspo": FLAT,
    "cispo": FLAT,
    "kl_cov": FLAT | {"objective.policy.loss.fraction": 0.2},
    "top_entropy": FLAT,
    "ppo": FLAT | TWICE,
    "spo_tree": {
        **TWICE,
        "learning_rate": 1e-3,
        "rollout": {"branching": [4, 3], "segment_tokens": [3], "edges_per_step": 12},
        "samples_per_prompt": 1,
    },
}


def uneven(prompt, completion, answer, **columns):
    """A random model's answers earn several numbers, and some are right."""
    points = sum(map(ord, completion)) % 5
    return Verdict(points / 4, float(points > 2), {})


@dataclass
class Slopes:
    """-d loss / d log-prob as the backward passes through the models computed it."""

    update: int = 0
    found: dict = field(default_factory=lambda: defaultdict(list))
    """(step, update, group, tokens) -> [L] numbers of a sequence."""
    step: int = 0

    def hear(self, now, micro):
        batch, place = micro.batch, (self.step, self.update)

        def keep(slope):
            for row in range(batch.num_sequences):
                low, high = batch.offset[row : row + 2].tolist()
                name = (*place, int(batch.group[row]), tuple(batch.token[low:high].tolist()))
                self.found[name].append(-slope[low:high].numpy().copy())

        if now.get("logp") is not None and now["logp"].requires_grad:
            now["logp"].register_hook(keep)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """One run of two steps by each recipe on one tiny model, and the slopes of its backward passes."""
    root, found = tmp_path_factory.mktemp("replayed"), {}
    tiny_model(vocab=VOCAB).save_pretrained(root / "model")
    tiny_tokenizer(VOCAB).save_pretrained(root / "model")
    rows = [{"question": f"{a}+{a + 1}=", "answer": str(2 * a + 1)} for a in range(8)]
    for file, part in (("rows", rows[:6]), ("held", rows[6:])):
        (root / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    data = {"data": str(root / "rows.jsonl"), "heldout_data": str(root / "held.jsonl")}
    loss_of, recorded, improve = torch_learner.loss_of, step_of.recorded_update, step_of.improve
    for name, settings in RUNS.items():
        slopes = Slopes()
        with pytest.MonkeyPatch.context() as patch:

            def heard(now, micro, slopes=slopes):
                slopes.hear(now, micro)
                return loss_of(now, micro)

            def numbered(number, minibatch, job, host, slopes=slopes):
                slopes.update = number
                return recorded(number, minibatch, job, host)

            def stepped(step, *rest, slopes=slopes):
                slopes.step = step
                return improve(step, *rest)

            patch.setattr(torch_learner, "loss_of", heard)
            patch.setattr(step_of, "recorded_update", numbered)
            patch.setattr("menon.loop.improve", stepped)
            patch.setattr("menon.study.report.at_the_end", lambda path, notify: {})
            patch.setattr("menon.assembly.build.reward_of", lambda source, around: uneven)
            train(name, model=str(root / "model"), out=str(root / name), **data, **SMALL | settings)
        found[name] = (RunView.open(root / name), slopes)
    return found


def slopes_of(runs, name, step, only=None):
    """[N] the slopes of a run on a step's tokens, NaN where no update (or not `only` that one) learned."""
    view, slopes = runs[name]
    batch = view.transcripts.batch(step)
    found = torch.full((batch.num_tokens,), torch.nan)
    for record in view.update_records(step):
        if record.logp_before is None or only not in (None, record.update):
            continue
        for row in record.sequence.tolist():
            low, high = batch.offset[row : row + 2].tolist()
            key = (step, record.update, int(batch.group[row]), tuple(batch.token[low:high].tolist()))
            found[low:high] = torch.from_numpy(slopes.found[key][0])
    return found


def gap(found, expected):
    """The largest difference where something is expected, relative to the largest number."""
    there = ~expected.isnan()
    assert there.any()
    assert float(expected[there].abs().max()) > 1e-4
    return float((found - expected)[there].abs().max() / expected[there].abs().max())


@pytest.mark.parametrize(
    ("name", "step"), [(name, step + 1) for name in RUNS for step in range(RUNS[name].get("steps", 1))]
)
def test_the_runs_own_update_is_reproduced(runs, name, step):
    view, _ = runs[name]
    made = replay(view, step)
    assert made.reproduced == 0.0
    assert gap(made.own.push, slopes_of(runs, name, step)) < 1e-6
    stored = view.transcripts.batch(step).advantage
    assert torch.equal(made.own.advantage, torch.where(made.batch.trained, stored, 0))


@pytest.mark.parametrize("name", ["dapo", "gspo", "cispo", "kl_cov", "top_entropy"])
def test_another_algorithm_equals_a_run_of_it_on_the_same_batch(runs, name):
    base, other = runs["grpo"][0], runs[name][0]
    assert torch.equal(base.transcripts.batch(1).token, other.transcripts.batch(1).token)
    changes = [{place: value} for place, value in RUNS[name].items() if place.startswith("objective")]
    made = replay(base, 1, name, changes)
    first = slopes_of(runs, name, 1, only=0)
    assert gap(made.other.push, first) < 1e-6
    learned = ~first.isnan()
    if name in ("dapo", "top_entropy"):  # the others start as GRPO does: every ratio is 1
        assert not torch.allclose(made.own.push[learned], first[learned], rtol=1e-3)
    weights = recorded_weights(other, 1, other.transcripts.batch(1))
    for term, weight in weights.items():
        assert torch.equal(made.other.terms[term].weight[learned], weight[learned])


def test_later_updates_are_replayed_at_the_policy_of_the_run(runs):
    """By hand: l = -A rho with rho = exp(logp_before - old), weighed by 1 / tokens of the update (token
    mean), so the push is A rho / tokens inside the clip, and 0 beyond it on the side of the advantage."""
    view = runs["grpo"][0]
    made, batch = replay(view, 2), view.transcripts.batch(2)
    second = next(record for record in view.update_records(2) if record.update == 1)
    place = tokens_of(batch.offset, torch.tensor(second.sequence))
    trained = batch.trained[place]
    ratio = (torch.tensor(second.logp_before) - batch.old_logp[place]).exp()
    advantage, count = batch.advantage[place], int(trained.sum())
    beyond = ((advantage > 0) & (ratio > 1.2)) | ((advantage < 0) & (ratio < 0.8))
    expected = torch.where(trained & ~beyond, advantage * ratio / count, 0)
    np.testing.assert_allclose(made.own.push[place], expected, atol=1e-7)
    assert ((ratio - 1).abs() > 1e-3).any()
    assert torch.equal(made.own.clipped[place], trained & beyond & (advantage != 0))


def test_the_difference_of_two_objectives(runs):
    """Half the coefficient: half the push everywhere, the same direction, no sign changed."""
    view = runs["grpo"][0]
    made = replay(view, 1, None, [{"objective.policy.coef": "0.5"}])
    torch.testing.assert_close(made.other.push, made.own.push / 2)
    found = made.summary()
    assert found["cosine"] == pytest.approx(1)
    assert found["size"] == pytest.approx(0.5)
    assert (found["sign_changed"], found["only_own"], found["only_other"]) == (0, 0, 0)
    assert made.changes() == {"objective.policy.coef": [1.0, 0.5]}
    against = replay(view, 1, None, [{"objective.policy.coef": "-1"}]).summary()
    assert against["cosine"] == pytest.approx(-1)
    assert against["sign_changed"] == pytest.approx(float((made.own.push != 0).sum()) / found["tokens"])


def test_a_part_of_the_users_own(runs, tmp_path):
    """A selection from a file: only tokens of an even number count."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Even:\n"
        "    def __call__(self, batch):\n        return batch.trained & (batch.token % 2 == 0)\n"
    )
    made = replay(runs["grpo"][0], 1, None, [{"objective.policy.select": f"{file}:Even"}])
    assert torch.equal(made.other.selected, made.batch.trained & (made.batch.token % 2 == 0))
    assert float(made.other.push[made.batch.token % 2 == 1].abs().max()) == 0


@pytest.mark.parametrize(
    ("recipe", "changes", "said"),
    [
        ("ppo", {}, "no 'value' .* a critic gives it"),
        (None, {"objective.kl.loss": "kl", "reference": "frozen"}, "no 'ref_logp' .* a reference gives it"),
        ("spo_tree", {}, "needs sampled values"),
        ("sft", {}, "learns from given text"),
        (None, {"learning_rate": "1"}, "models.policy.optimiser.learning_rate is none of them"),
    ],
)
def test_what_needs_a_model_is_named(runs, recipe, changes, said):
    with pytest.raises(UserError, match=said):
        replay(runs["grpo"][0], 1, recipe, [changes])


def test_a_term_that_needs_the_model_is_left_out(runs):
    changes = {"objective.bonus": {"loss": "entropy", "coef": 0.01}}
    made = replay(runs["grpo"][0], 1, None, [changes])
    assert torch.equal(made.other.push, made.own.push)
    assert any("the term bonus learns through entropy" in note for note in made.notes)


def test_the_command(runs, capsys):
    path = str(runs["grpo"][0].path)
    assert main(["replay", path, "step=2", "kl_cov", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    view = runs["grpo"][0]
    made = replay(view, 2, "kl_cov")
    tokens = [push for answer in found["answers"] for push in answer["other"]["push"]]
    np.testing.assert_allclose(tokens, made.other.push)
    assert found["summary"]["cosine"] == pytest.approx(made.summary()["cosine"])
    assert main(["replay", path, "step=2", "objective.policy.loss=kl_cov"]) == 0
    shown = capsys.readouterr().out
    assert "objective.policy.loss: kl_cov instead of ppo_clip" in shown
    assert f"cosine of the two pushes {made.summary()['cosine']:.4f}" in shown
    assert main(["replay", path]) == 2
    assert "menon replay runs/mine step=5" in capsys.readouterr().err


def test_values_push_no_log_prob(runs):
    """With one trunk for both, the value loss is a term of the policy's update, and its push is 0."""
    changes = {"models.critic.shared_trunk": "true", "models.critic.updates_per_step": "2"}
    made = replay(runs["ppo"][0], 1, None, [changes])
    values = [term for term in made.other.policy.values() if term.through == ("value",)]
    assert len(values) == 1
    assert float(values[0].push.abs().max()) == 0
    assert bool((values[0].weight != 0).any())
    assert torch.equal(made.other.push, made.own.push)
    assert any("pushes values and no log-prob" in note for note in made.notes)
