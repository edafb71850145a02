"""From a minibatch to its loss.

Everything that depends on the whole update (statistics, selections, aggregation weights) is computed in
`prepare`, before `cut` divides the update into parts that fit into memory. So the cut cannot change the
gradient, and every term keeps its own normaliser.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, coefficient_column, sent, take, to, tokens_of, unit_of
from menon.types import Max, Mean, Metric, Sum, Unit, merge
from menon.update.host import Ask, Job, ModelHost, Ready
from menon.update.protocols import Current, Need, Prepares
from menon.update.terms import MiniBatch, pieces


@dataclass(frozen=True)
class Micro:
    """As much of an update as fits into one forward pass."""

    batch: Batch
    terms: Mapping[str, Ready]
    first: bool = False
    """See `Job.first`."""

    @property
    def needs(self) -> tuple[Need, ...]:
        terms = [ready.term for ready in self.terms.values()]
        corrected: tuple[Need, ...] = ("logp",) if any(term.correction for term in terms) else ()
        return tuple(dict.fromkeys((*(need for term in terms for need in term.loss.needs), *corrected)))


def prepare(minibatch: MiniBatch, batch: Batch, host: ModelHost) -> Job:
    """One update: its sequences, and its terms with weights, selections and statistics over the whole of
    it."""
    update = minibatch.update
    batch = take(batch, minibatch.rows)
    if minibatch.first and update.old == "trainer":
        batch = replace(batch, old_logp=None)
    current = _current(host, update.model, batch, minibatch.first)
    ready = {}
    for name, term in update.terms.items():
        columns: dict[str, Tensor] = {}
        for piece in pieces(term):
            if isinstance(piece, Prepares):
                columns |= piece.prepare(replace(batch, columns=columns), current)
        view = replace(batch, columns=columns)
        selected = batch.trained if term.select is None else term.select(view) & batch.trained
        steered = batch.columns.get(coefficient_column(name), torch.ones((), dtype=batch.reward.dtype))
        assert term.share is not None, "the assembly gives every term a share (`loss.aggregation.mean_of`)"
        ready[name] = Ready(term, term.coef * steered * term.share(view, selected), columns)
    return Job(batch, ready, update.unit, minibatch.first)


def _current(host: ModelHost, model: str, batch: Batch, first: bool) -> Current:
    """Scores the model as it is now. On the first update its entropies are already in the batch and cost
    nothing."""

    def score(*needs: Need, role: str = "", on: Batch | None = None) -> dict[str, Tensor]:
        if on is not None or role:
            return host.score(batch if on is None else on, [Ask(role or model, need) for need in needs])
        known = {"entropy": batch.entropy} if first and batch.entropy is not None else {}
        missing = [Ask(model, need) for need in needs if need not in known]
        return {**known, **(host.score(batch, missing) if missing else {})}

    return score


def cut(job: Job, tokens_per_forward: int, workers: int = 1, by_prompt: bool = False) -> Iterator[Micro]:
    """Divides an update into forward passes; see `forward_rows`."""
    for rows in forward_rows(job.batch, job.unit, tokens_per_forward, workers, by_prompt):
        yield Micro(take(job.batch, rows), terms_on(job, tokens_of(job.batch.offset, rows)), job.first)


def terms_on(job: Job, tokens: Tensor) -> dict[str, Ready]:
    """The terms of an update on some of its tokens."""
    return {
        name: replace(
            ready,
            weight=ready.weight[tokens],
            columns={key: column[tokens] for key, column in ready.columns.items()},
        )
        for name, ready in job.terms.items()
    }


def forward_rows(
    batch: Batch, unit: Unit, tokens_per_forward: int, workers: int = 1, by_prompt: bool = False
) -> list[Tensor]:
    """Sequences of each forward pass: units sorted by their longest sequence, so that little of a padded pass
    is padding.

    `workers` passes run at a time, and together they have at most `tokens_per_forward` padded tokens, unless
    a single unit is larger. A smaller batch is also divided between the workers.

    With `by_prompt`, for a model that computes a prompt once for all its answers and pads nothing, the
    answers to a prompt stay together and its tokens count once.
    """
    if by_prompt:
        return _rows_by_prompt(batch, unit, tokens_per_forward)
    if workers > 1:
        tokens_per_forward = min(tokens_per_forward, batch.num_tokens) // workers
    size = batch.lengths
    names, unit_index = torch.unique(unit_of(batch, unit), return_inverse=True)
    members = torch.zeros(len(names), dtype=torch.int64, device=size.device).index_add(
        0, unit_index, torch.ones_like(size)
    )
    longest = torch.zeros_like(members).scatter_reduce(0, unit_index, size, reduce="amax")
    rows_by_unit = torch.argsort(unit_index, stable=True).split(members.tolist())
    passes: list[list[Tensor]] = []
    width = count = 0
    for u in torch.argsort(longest, stable=True).tolist():
        width, count = max(width, int(longest[u])), count + int(members[u])
        if not passes or width * count > tokens_per_forward:
            passes.append([])
            width, count = int(longest[u]), int(members[u])
        passes[-1].append(rows_by_unit[u])
    if workers > 1:
        passes.reverse()  # the last pass, which may run alone, should be a short one
    return [torch.cat(rows) for rows in passes]


def _rows_by_prompt(batch: Batch, unit: Unit, most: int) -> list[Tensor]:
    """Sequences of each pass of at most so many tokens, unless a single unit has more."""
    first = ragged.first(batch.is_action, batch.offset)
    prompt = (torch.minimum(first, batch.offset[1:]) - batch.offset[:-1]).tolist()
    written = [size - start for size, start in zip(batch.lengths.tolist(), prompt, strict=True)]
    group = batch.group.tolist()
    members: dict[int, list[int]] = {}
    for row, own in enumerate(unit_of(batch, unit).tolist()):
        members.setdefault(own, []).append(row)
    longest: dict[int, int] = {}
    for row, size in enumerate(written):
        longest[group[row]] = max(longest.get(group[row], 0), size)
    # Groups of like length beside each other, so that attention pads little.
    units = sorted(members.values(), key=lambda rows: (longest[group[rows[0]]], group[rows[0]]))
    passes: list[list[int]] = []
    seen: set[int] = set()
    count = 0
    for rows in units:
        own = sum(written[row] for row in rows)
        prompts = {group[row]: prompt[row] for row in rows}
        more = own + sum(size for name, size in prompts.items() if name not in seen)
        if not passes or count + more > most:
            passes.append([])
            seen, count, more = set(), 0, own + sum(prompts.values())
        passes[-1] += rows
        seen |= prompts.keys()
        count += more
    return [torch.tensor(rows) for rows in passes]


def moved(micro: Micro, device: torch.device) -> Micro:
    """The micro-batch on another device."""
    terms = {
        name: replace(
            ready,
            weight=sent(ready.weight, device),
            columns={key: sent(column, device) for key, column in ready.columns.items()},
        )
        for name, ready in micro.terms.items()
    }
    return replace(micro, batch=to(micro.batch, device), terms=terms)


def loss_of(now: Mapping[str, Tensor], micro: Micro) -> tuple[Tensor, dict[str, Metric]]:
    """The micro-batch's part of the update's loss (a scalar with gradient), and the metrics of its terms."""
    losses: list[Tensor] = []
    metrics: dict[str, Metric] = {}
    for name, ready in micro.terms.items():
        view = replace(micro.batch, columns=ready.columns)
        with torch.no_grad():
            weight, masked = correct(ready, now, view)
        # `where`, not a product alone: an infinity outside of the selection must not become NaN.
        counted = torch.where(weight != 0, ready.term.loss(now, view), 0)
        loss = (counted * weight).sum()
        losses.append(loss)
        with torch.no_grad():
            merge(metrics, {f"loss/{name}": Sum(loss.detach())} | masked | ready.term.loss.metrics(now, view))
    with torch.no_grad():
        if micro.first:
            merge(metrics, mismatch(now, micro.batch))
        merge(metrics, distance(now, micro.batch))
    return torch.stack(losses).sum(), metrics


def correct(ready: Ready, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Metric]]:
    """[N] the weight of a term's tokens after its corrections; mismatch/masked is the share that they leave
    out."""
    if not ready.term.correction:
        return ready.weight, {}
    factor = torch.ones_like(ready.weight)
    for correction in ready.term.correction:
        factor = factor * correction(now["logp"].detach(), batch)
    masked = torch.where(batch.trained, factor == 0, False)
    return ready.weight * torch.where(batch.trained, factor, 0), {
        "mismatch/masked": Mean(masked.sum(), batch.trained.sum())
    }


def weighs(now: Mapping[str, Tensor], micro: Micro) -> Tensor:
    """Whether any token has a weight other than 0 after corrections; 0-dim bool."""
    views = ((ready, replace(micro.batch, columns=ready.columns)) for ready in micro.terms.values())
    return torch.stack([(correct(ready, now, view)[0] != 0).any() for ready, view in views]).any()


def distance(now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
    """KL from the policy before the step's updates to the reference and to the teacher, estimated by the
    sampled tokens with k = log pi - log ref: k1 = k and k3 = exp(-k) - 1 + k per token, and the mean over
    sequences of the summed k1 (docs/numerics.md, 15). Where old log-probs were not scored, it is that of the
    policy before its own update."""
    if "logp" not in now:
        return {}
    old = now["logp"] if batch.old_logp is None else batch.old_logp
    found: dict[str, Metric] = {}
    if batch.ref_logp is not None:
        to_reference = kl_to(batch.ref_logp, old, batch)
        found |= dict(zip(("kl/ref_k1", "kl/ref_k3", "kl/seq"), to_reference, strict=True))
    if batch.teacher_logp is not None:
        to_teacher = kl_to(batch.teacher_logp, old, batch)
        found |= dict(zip(("kl/teacher_k1", "kl/teacher_k3", "kl/teacher_seq"), to_teacher, strict=True))
    return found


def kl_to(other: Tensor, logp: Tensor, batch: Batch) -> tuple[Metric, Metric, Metric]:
    """Token means of k1 and k3, and the mean over sequences of the summed k1."""
    k = ragged.difference(logp, other, batch.trained).double()
    k3 = torch.exp((-k).clamp(max=20)) - 1 + k
    tokens = batch.trained.sum()
    return Mean(k.sum(), tokens), Mean(k3.sum(), tokens), Mean(k.sum(), batch.valid.sum())


def mismatch(now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
    """How far trainer and sampler differ on the same weights (docs/numerics.md, 15): w =
    pi_old / pi_behaviour, which should be 1.

    It is measured on the first update of a step, before the weights move. A sampler with stale weights is
    visible here.
    """
    if batch.behaviour_logp is None or "logp" not in now:
        return {}
    d, counted = (
        ragged.difference(now["logp"], batch.behaviour_logp, batch.trained).clamp(-20, 20),
        batch.trained.sum(),
    )
    return {
        "mismatch/abs": Mean(d.abs().sum(), counted),
        "mismatch/k3": Mean((d.exp() - 1 - d).sum(), counted),
        "mismatch/max_w": Max(torch.where(batch.trained, d.exp(), 0).amax() if len(d) else 0.0),
    }
