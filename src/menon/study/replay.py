"""A stored step under another credit, loss, aggregation, correction or selection, without a model: what each
part would have done to each token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, tokens_of
from menon.errors import UserError
from menon.record import checkpoint
from menon.record.clock import Clock
from menon.record.reader import RunView
from menon.settings import Tree
from menon.source.protocols import Gathered
from menon.step import PartState, Plan, improve
from menon.study.replay_config import Algorithm, named_by_user
from menon.study.stored_host import PLACE, VALUES, Logps, StoredHost, TermReplay

ROW = ("group", "sample", "node", "learn", "score")
"""Columns of a transcript that say which answer a sequence is, and what it earned."""
WHO = ("group", "sample", "node")
MEASURED = ("clip/", "ratio/", "cov/", "kl/", "loss/", "adv/", "coefficient/")
"""How the names of the metrics begin that both sides are compared by."""


@dataclass(frozen=True)
class Side:
    """One configuration on the stored step; tensors are [N], over the tokens of the step."""

    algorithm: Algorithm
    terms: Mapping[str, TermReplay]
    """By name; those of the critic after `critic.`."""
    advantage: Tensor
    """0 where none was given."""
    metrics: Mapping[str, float]
    missing: tuple[str, ...]
    """Sentences about what only a model gives."""
    moved: int
    """Updates of the policy that were replayed at the log-probs which the run had by then."""
    updates: int
    """Updates of the policy."""

    @property
    def policy(self) -> dict[str, TermReplay]:
        return {name: term for name, term in self.terms.items() if term.model == "policy"}

    @cached_property
    def push(self) -> Tensor:
        """-d loss / d log-prob of the policy's update: above 0 where it makes the token likelier. A term
        that learns through more than log-probs and values is left out; NaN where the others are not
        known."""
        known = [term.push for term in self.policy.values() if set(term.through) <= {"logp", VALUES}]
        if not known:
            return torch.where(self.selected, torch.nan, torch.zeros_like(self.advantage))
        return torch.stack(known).sum(0)

    @cached_property
    def selected(self) -> Tensor:
        """bool: a term of the policy counts the token."""
        return torch.stack([term.selected for term in self.policy.values()]).any(0)

    @cached_property
    def clipped(self) -> Tensor:
        """bool: the token has an advantage and is counted, and still nothing pushes it: its ratio is beyond
        the clip, or a correction leaves it out."""
        return self.selected & (self.advantage != 0) & (self.push == 0)


@dataclass(frozen=True)
class Replay:
    """A step under the run's own configuration and under another."""

    view: RunView
    step: int
    batch: Batch
    """The step as it was before the advantage stage."""
    rows: Sequence[Mapping[str, Any]]
    """One for each sequence of the batch: `ROW`, as far as it is stored."""
    own: Side
    other: Side
    notes: tuple[str, ...]
    recorded: Mapping[str, Tensor]
    """[N] weights of the run's terms as its updates recorded them; {} if they did not."""

    @cached_property
    def known(self) -> Tensor:
        """bool: trained tokens whose push is known on both sides."""
        return self.batch.trained & self.known_own & ~self.other.push.isnan()

    @cached_property
    def known_own(self) -> Tensor:
        """bool: tokens whose push by the run itself is known."""
        return ~self.own.push.isnan()

    @property
    def reproduced(self) -> float | None:
        """The largest difference of a weight from what the run recorded; None if it recorded none."""
        gaps = [
            float((self.own.terms[name].weight - weight)[self.known_own].abs().max())
            for name, weight in self.recorded.items()
            if name in self.own.terms and bool(self.known_own.any())
        ]
        return max(gaps, default=None)

    def summary(self) -> dict[str, Any]:
        """How far the two sides differ over the step."""
        own, other = (side.push[self.known].double() for side in (self.own, self.other))
        tokens, lengths = max(1, len(own)), float(own.norm() * other.norm())
        size = float(own.abs().sum())
        return {
            "tokens": int(self.batch.trained.sum()),
            "known": len(own),
            "cosine": float(own @ other) / lengths if lengths else None,
            "size": float(other.abs().sum()) / size if size else None,
            "sign_changed": float((own * other < 0).sum()) / tokens,
            "only_own": float(((own != 0) & (other == 0)).sum()) / tokens,
            "only_other": float(((own == 0) & (other != 0)).sum()) / tokens,
            "reproduced": self.reproduced,
            "own": self.side_summary(self.own),
            "other": self.side_summary(self.other),
            "groups": self.groups(),
        }

    def side_summary(self, side: Side) -> dict[str, Any]:
        """Shares of the trained tokens of one side, its terms, and the metrics of its losses."""
        trained = self.batch.trained
        count = max(1, int(trained.sum()))
        mass = {name: float(term.push[self.known].abs().sum()) for name, term in side.policy.items()}
        whole = sum(one for one in mass.values() if one == one)
        return {
            "selected": float((side.selected & trained).sum()) / count,
            "clipped": float((side.clipped & trained).sum()) / count,
            "pushed": float((side.push[self.known] != 0).sum()) / max(1, int(self.known.sum())),
            "terms": {
                name: {
                    "loss": term.loss,
                    "model": term.model,
                    "coef": side.algorithm.coefficient(name),
                    "mass": mass.get(name),
                    "share": mass[name] / whole if whole and name in mass else None,
                }
                for name, term in side.terms.items()
            },
            "metrics": {name: value for name, value in side.metrics.items() if name.startswith(MEASURED)},
            "updates": side.updates,
            "at_recorded": side.moved,
            "missing": list(side.missing),
        }

    def groups(self) -> list[dict[str, Any]]:
        """For each group of answers its share of the sum of absolute pushes, on both sides."""
        group = ragged.spread(self.batch.group, self.batch.offset, self.batch.num_tokens)[self.known]
        names, index = torch.unique(group, return_inverse=True)
        shares = []
        for side in (self.own, self.other):
            mass = ragged.sum_by(side.push[self.known].double().abs(), index, len(names))
            shares.append(mass / total if (total := float(mass.sum())) else mass)
        return [
            {"group": name, "own": own, "other": other}
            for name, own, other in zip(names.tolist(), *(share.tolist() for share in shares), strict=True)
        ]

    def largest(self, count: int) -> list[dict[str, Any]]:
        """The tokens whose push differs most, the furthest first: which answer, `row`, `token` (its place in
        the sequence), its `text` (None where that is not stored), and both pushes."""
        gap = torch.where(self.known, (self.own.push - self.other.push).abs(), 0)
        places = [place for place in gap.topk(min(count, len(gap))).indices.tolist() if gap[place] > 0]
        owner = ragged.owner(self.batch.offset)
        found = []
        for place in places:
            row = int(owner[place])
            token = place - int(self.batch.offset[row])
            about = {
                name: value for name, value in self.rows[row].items() if name in ("group", "sample", "node")
            }
            pushes = {"own": float(self.own.push[place]), "other": float(self.other.push[place])}
            found.append({**about, "row": row, "token": token, "text": self.piece(row, token), **pushes})
        return found

    @cached_property
    def texts(self) -> Sequence[Mapping[str, Any]] | None:
        """Text and bounds of the tokens of each sequence; None in a folder of format 1."""
        names = ["text", "text_start"]
        stored = set(names) <= set(self.view.transcripts.columns(self.step))
        return self.view.transcripts.rows(self.step, names) if stored else None

    def piece(self, row: int, token: int) -> str | None:
        """The text of a token."""
        if self.texts is None:
            return None
        stored = self.texts[row]
        ends = [*stored["text_start"], len(stored["text"])]
        return str(stored["text"][ends[token] : ends[token + 1]])

    def answer(self, row: int) -> dict[str, Any]:
        """Everything about the tokens of one sequence, prompt included; `row` is its place in the
        transcript."""
        low, high = self.batch.offset[row : row + 2].tolist()
        sides = {"own": self.own, "other": self.other}
        return {
            **{name: self.rows[row][name] for name in ROW if name in self.rows[row]},
            "row": row,
            "trained": self.batch.trained[low:high].tolist(),
            **{name: answer_side(side, slice(low, high)) for name, side in sides.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, NaN where a push is not known."""
        return {
            "run": str(self.view.path),
            "step": self.step,
            "changes": self.changes(),
            "notes": list(self.notes),
            "summary": self.summary(),
            "answers": [self.answer(row) for row in range(self.batch.num_sequences)],
        }

    def changes(self) -> dict[str, list[Any]]:
        """The settings that differ, by their dotted names: the run's value and the replay's."""
        return self.other.algorithm.differences(self.own.algorithm)


def answer_side(side: Side, tokens: slice) -> dict[str, Any]:
    """[T] columns of one side on the tokens of an answer."""
    return {
        "push": side.push[tokens].tolist(),
        "advantage": side.advantage[tokens].tolist(),
        "selected": side.selected[tokens].tolist(),
        "clipped": side.clipped[tokens].tolist(),
        "terms": {
            name: {"weight": term.weight[tokens].tolist(), "push": term.push[tokens].tolist()}
            for name, term in side.policy.items()
        },
    }


def replay(view: RunView, step: int, recipe: str | None = None, changes: Sequence[Tree] = ()) -> Replay:
    """A step of a run under the credit and objective of a recipe, or under other settings (as in `menon
    train`), beside the same step under the run's own. UserError: there is no such step, parts do not fit, or
    a column is not stored that only a model gives."""
    changes, word = named_by_user(changes)
    own = Algorithm.of_run(view, word)
    return replayed(view, step, own, own.changed(recipe, changes))


def replayed(view: RunView, step: int, own: Algorithm, other: Algorithm) -> Replay:
    """The same under two whole configurations."""
    stored = view.transcripts.batch(step)
    columns = [name for name in ROW if name in view.transcripts.columns(step)]
    rows = view.transcripts.rows(step, columns)
    notes: dict[str, None] = {}
    batch = before_credit(stored, rows, own, notes)
    logps = known_logps(view, step, own, stored)
    same = other == own
    first = side_of(view, step, own, batch, logps, own, notes)
    second = first if same else side_of(view, step, other, batch, logps, own, notes)
    if not len(view.updates.steps) or step not in view.updates.steps:
        notes[
            "the run did not record its updates (record=full), so each one is replayed at the policy before "
            "the step: every ratio is 1"
        ] = None
    elif second.moved < second.updates:
        notes[
            "the replay divides the step into other updates than the run, so each is replayed at the policy "
            "before the step: every ratio is 1"
        ] = None
    missing = dict.fromkeys((*first.missing, *second.missing))
    return Replay(
        view, step, batch, rows, first, second, (*notes, *missing), recorded_weights(view, step, stored)
    )


def before_credit(
    stored: Batch, rows: Sequence[Mapping[str, Any]], own: Algorithm, notes: dict[str, None]
) -> Batch:
    """The step as the advantage stage got it: rewards before shaping, no advantages, all answers that the
    rollout gave to learn from."""
    reward = stored.reward
    if own.changes_reward:
        place = ragged.last(stored.is_action, stored.offset)
        place = torch.where(place >= 0, place, stored.offset[1:] - 1)
        score = np.array([row["score"] for row in rows], dtype=np.float32)
        outcome = torch.from_numpy(np.where(np.isnan(score), 0, score).astype(np.float32))
        reward = torch.zeros(stored.num_tokens).index_add(0, place, outcome)
        if own.in_turns:
            notes["rewards of single turns are not stored before shaping, so they stand at the end"] = None
    learn = stored.learn
    if own.arranges and learn is not None:
        learn = None if stored.node is None else learn
    if learn is not None and bool(learn.all()):
        learn = None
    place = torch.arange(stored.num_tokens)
    return replace(
        stored, reward=reward, advantage=None, ret=None, learn=learn, old_logp=None, columns={PLACE: place}
    )


def known_logps(view: RunView, step: int, own: Algorithm, stored: Batch) -> Logps:
    """The log-probs of the policy before the step and before each update, as far as the run stored them."""
    learned = torch.full((stored.num_tokens,), torch.nan)
    update, entropy = torch.full((stored.num_tokens,), -1), learned.clone()
    records = view.update_records(step) if step in view.updates.steps else []
    numbers = sorted({record.update for record in records if record.model == "policy"})
    for record in records:
        if record.logp_before is None:
            continue
        place = places(stored, record.sequence)
        learned[place] = torch.from_numpy(record.logp_before.astype(np.float32))
        update[place] = numbers.index(record.update)
        if record.entropy_before is not None:
            entropy[place] = torch.from_numpy(record.entropy_before.astype(np.float32))
    by_trainer = own.config.models.policy.old == "trainer"
    start = (
        stored.old_logp if by_trainer and stored.old_logp is not None else torch.full_like(learned, torch.nan)
    )
    start = torch.where(start.isnan() & (update == 0), learned, start)
    if stored.behaviour_logp is not None:  # the sampler's, where it had the weights before the step
        fresh = torch.ones_like(stored.is_action) if stored.version is None else stored.version == step - 1
        start = torch.where(start.isnan() & fresh, stored.behaviour_logp, start)
    return Logps(start, learned, entropy, update)


def places(batch: Batch, sequences: np.ndarray) -> Tensor:
    """The tokens of these sequences, one after the other."""
    return tokens_of(batch.offset, torch.tensor(sequences, dtype=torch.int64))


def recorded_weights(view: RunView, step: int, stored: Batch) -> dict[str, Tensor]:
    """[N] weights of each term as the updates recorded them, 0 on tokens of no update."""
    if step not in view.updates.steps:
        return {}
    found: dict[str, Tensor] = {}
    for record in view.update_records(step):
        name = record.term if record.model == "policy" else f"{record.model}.{record.term}"
        weight = found.setdefault(name, torch.zeros(stored.num_tokens))
        weight[places(stored, record.sequence)] = torch.from_numpy(record.weight.astype(np.float32))
    return found


def side_of(
    view: RunView,
    step: int,
    algorithm: Algorithm,
    batch: Batch,
    logps: Logps,
    own: Algorithm,
    notes: dict[str, None],
) -> Side:
    """What a configuration does to the step, by the training step of the library on a host without models."""
    plan = algorithm.plan
    host = StoredHost(batch, logps)
    state = state_before(view, step, plan, algorithm, own, notes)
    report, _ = improve(step, Gathered(batch), plan, host, state, Clock())
    if not host.updates:
        raise UserError(f"the policy learned nothing in step {step} of {view.path}; choose another step")
    advantage = report.columns.get("advantage")
    return Side(
        algorithm,
        host.terms,
        torch.zeros(batch.num_tokens) if advantage is None else torch.from_numpy(advantage).nan_to_num(),
        report.metrics,
        tuple(host.missing),
        host.moved,
        host.updates,
    )


def state_before(
    view: RunView, step: int, plan: Plan, algorithm: Algorithm, own: Algorithm, notes: dict[str, None]
) -> PartState:
    """The state of the parts before the step: of those that the run has too from the checkpoint before it,
    where there is one; of others the state that a run begins with."""
    state = dict(plan.initial_state())
    shared = [
        name for name in state if algorithm.config.advantage.get(name) == own.config.advantage.get(name)
    ]
    if not shared or step == 1:
        return state
    if step - 1 in view.checkpoints:
        stored = checkpoint.load(view.layout.checkpoint(step - 1)).state["parts"]
        return state | {name: stored[name] for name in shared if name in stored}
    for name in shared:
        notes[
            f"the state of advantage.{name} before step {step} is not stored (there is no checkpoint of step "
            f"{step - 1}), so it begins anew"
        ] = None
    return state
