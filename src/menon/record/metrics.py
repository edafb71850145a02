"""The metrics of one step, by the names of docs/numerics.md, 15. Invalid sequences are in none of them; an
empty denominator gives 0."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from menon import ragged
from menon.batch import Batch, columns_per
from menon.intervals import interval, interval_of_share
from menon.record.repetition import repeat_scores
from menon.types import FINISHES, Graded, Max, Mean, Metric, StepReport, Sum, UpdateRecord

REFLECTION = {
    "wait": re.compile(r"wait,"),
    "recheck": re.compile(r"recheck[,\s]"),
    "retry": re.compile(r"retry"),
    "alternatively": re.compile(r"alternatively,"),
    "however": re.compile(r"however,"),
}
"""Open-Reasoner-Zero's patterns, case-sensitive (docs/numerics.md, 15)."""
CAPITALISED = re.compile(r"Wait,|Recheck[,\s]|Retry|Alternatively,|However,")
R1_WORDS = re.compile(
    r"\b(?:wait|mistake|however|but|retry|error|verify|wrong|evaluate|check)\b", re.IGNORECASE
)
"""The words counted in the R1 paper (docs/numerics.md, 15)."""
FORMAT = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
COVARIANCE_TOPS = {"top002": 0.0002, "top02": 0.002, "top2": 0.02, "top20": 0.2, "top50": 0.5}
"""Name, which is the percentage without its point -> share of the tokens (docs/numerics.md, 15)."""


def batch_metrics(batch: Batch, written: Batch | None = None) -> dict[str, Metric]:
    """Metrics of a batch: accuracy and groups where some correctness is known, lengths, entropy; also
    advantages and values if the batch has them. `written` is the batch before a part chose what to learn
    from: the text is measured on all of it.

    Lengths count action tokens. Standard deviations are Bessel's; for fewer than two numbers they are 0.
    """
    written = batch if written is None else written
    valid, text = batch.valid, written.trained
    metrics: dict[str, Metric] = {
        "reward/failed": Sum(int((~valid).sum())),
        "trunc_rate": _mean(batch.finish[valid] == FINISHES.index("length")),
        "stop_rate": _mean(batch.finish[valid] == FINISHES.index("stop")),
        "tokens/generated": Sum(int(batch.is_action.sum())),
    }
    metrics |= _correctness(written) | _lengths(written)
    if batch.entropy is not None:
        scored = batch.entropy is not written.entropy  # by the trainer, and only what is learned from
        metrics |= _entropies(batch.entropy[batch.trained if scored else text])
    if batch.behaviour_logp is not None:
        if batch.log_kept is not None and bool((batch.log_kept < 0).any()):
            metrics["sampling/kept"] = _mean(batch.log_kept[text].exp())
        metrics["entropy/mc"] = _mean(-batch.behaviour_logp[text])
    if batch.advantage is not None:
        advantage = batch.advantage[batch.trained]
        metrics |= {
            "adv/mean": _mean(advantage),
            "adv/std": _std(advantage),
            "adv/absmax": Max(float(advantage.abs().max()) if len(advantage) else 0.0),
        }
    if batch.answer_prob is not None:
        last = ragged.last(batch.trained, batch.offset)
        numbers = batch.answer_prob[last[last >= 0]]
        metrics |= {"answer_prob/mean": _mean(numbers), "answer_prob/placed": _mean(numbers > 0)}
    if batch.value is not None and batch.ret is not None:
        metrics["value/explained_var"] = Mean(
            _explained(batch.value[batch.trained], batch.ret[batch.trained])
        )
    if batch.advantage is not None and (logp := batch.policy_logp) is not None:
        metrics |= covariances(batch.advantage, logp, batch.trained)
    return metrics


def staleness(batch: Batch, version: int) -> dict[str, Metric]:
    """How many versions older than the weights that learn from them, `version`, the tokens of a step are, and
    how many answers were written by several versions. {} where no token is older, as in a synchronous run."""
    if batch.version is None:
        return {}
    age = (version - batch.version.long()).clamp(min=0)
    ages = age[batch.is_action]
    if not ages.any():
        return {}
    present = ragged.sequence_sum(batch.is_action.long(), batch.offset) > 0
    ends = (edge(batch.is_action, batch.offset)[present] for edge in (ragged.first, ragged.last))
    begun, ended = (age[end] for end in ends)
    counts = torch.bincount(ages).tolist()
    return {
        "staleness/mean": _mean(ages),
        "staleness/max": Max(int(ages.max())),
        "staleness/several": _mean(begun != ended),
        **{f"staleness/by/{old}": Mean(count, len(ages)) for old, count in enumerate(counts)},
    }


def step_report(
    step: int,
    graded: tuple[Graded, ...],
    batch: Batch,
    metrics: Mapping[str, Metric],
    updates: Sequence[UpdateRecord],
) -> StepReport:
    """The results of a step for the record: its numbers, its text, and the batch's columns per token."""
    columns = {
        name: value.numpy() for name in columns_per("token") if (value := getattr(batch, name)) is not None
    }
    numbers = {name: float(metric) for name, metric in metrics.items()}
    return StepReport(step, numbers, graded, columns, batch.offset.numpy(), updates=tuple(updates))


def covariances(advantage: Tensor, logp: Tensor, trained: Tensor) -> dict[str, Metric]:
    """The covariance of log-prob and advantage, which drives the entropy down (arXiv 2505.22617), over all
    trained tokens of finite log-prob, and its means over the tokens that contribute most."""
    counted = trained & logp.isfinite()
    product = ragged.centred_product(advantage.double(), torch.where(counted, logp, 0).double(), counted)[
        counted
    ]
    ranked = product.sort(descending=True).values
    tops = {name: ranked[: math.ceil(share * len(ranked))] for name, share in COVARIANCE_TOPS.items()}
    return {"cov/mean": _mean(product), **{f"cov/{name}": _mean(values) for name, values in tops.items()}}


def text_metrics(graded: Sequence[Graded]) -> dict[str, Metric]:
    """Metrics of verdicts and texts: rewards and their parts, format, repetition, reflection.  A reward is
    what the grader gave, before the advantage stage subtracts any KL penalty.
    """
    counted = [g for g in graded if not np.isnan(g.verdict.score)]
    texts = [g.rollout.graded_text for g in counted]
    found = {
        name: np.array([bool(p.search(text)) for text in texts], dtype=bool) for name, p in REFLECTION.items()
    }
    reflects = np.any(list(found.values()), axis=0)
    correct = np.array([g.verdict.acc == 1 for g in counted], dtype=bool)
    length = np.array([g.rollout.num_actions for g in counted], dtype=np.float64)
    scores = torch.tensor([g.verdict.score for g in counted], dtype=torch.float64)
    metrics: dict[str, Metric] = {
        "reward/mean": _mean(scores),
        "reward/std": _std(scores),
        "groups/varied": _share(varied(counted)),
        "format_rate": _share([_well_formed(g) for g in counted]),
        "boxed_rate": _share([_boxed(text) for text in texts]),
        "repeat_score": _share(repeat_scores([g.rollout.tokens[g.rollout.is_action] for g in counted])),
        "refl/rate": _share(reflects),
        "refl/len_correct": _share(length[reflects & correct]),
        "refl/capitalised_rate": _share([bool(CAPITALISED.search(text)) for text in texts]),
        "refl/r1_rate": _share([bool(R1_WORDS.search(text)) for text in texts]),
    }
    if (ahead := right_ahead(counted)) is not None:
        metrics["reward/right_ahead"] = ahead
    metrics |= {f"refl/per_pattern/{name}": _share(hits) for name, hits in found.items()}
    if apart := sum(not g.verdict.applies for g in graded):
        metrics["reward/not_applicable"] = Sum(apart)
        metrics["reward/failed"] = Sum(len(graded) - len(counted) - apart)
    parts: dict[str, list[float]] = {}
    for g in counted:
        for name, value in g.verdict.parts.items():
            if not np.isnan(value):
                parts.setdefault(name, []).append(value)
    metrics |= {f"reward/parts/{name}": _share(values) for name, values in sorted(parts.items())}
    return metrics | {f"shows/{name}": _share(values) for name, values in scores_shown(counted).items()}


def varied(graded: Sequence[Graded]) -> list[bool]:
    """For each group whether the rewards of its answers differ: a comparison within the group teaches
    something. Answers without a score are left out."""
    scores: dict[int, set[float]] = {}
    for g in graded:
        scores.setdefault(g.rollout.group, set()).add(g.verdict.score)
    return [len(own) > 1 for own in scores.values()]


def right_ahead(graded: Sequence[Graded]) -> Mean | None:
    """How often a right answer earns more than a wrong one to the same question (ties count half): what the
    reward's preference is worth on fresh answers. None where there are no such two, or where every score is
    the correctness itself."""
    groups: dict[int, tuple[list[float], list[float]]] = {}
    for g in graded:
        if g.verdict.acc in (0, 1):
            groups.setdefault(g.rollout.group, ([], []))[int(g.verdict.acc)].append(g.verdict.score)
    ahead = [
        (one > other) + (one == other) / 2
        for wrong, right in groups.values()
        for one in right
        for other in wrong
    ]
    if not ahead or all(g.verdict.score == g.verdict.acc for g in graded):
        return None
    return Mean(sum(ahead), len(ahead))


def scores_shown(graded: Sequence[Graded]) -> dict[str, list[float]]:
    """The behaviours of the answers (`Verdict.shows`) by name, for answers whose task looks for them."""
    names = sorted({name for g in graded for name in g.verdict.shows})
    return {name: [g.verdict.shows[name] for g in graded if name in g.verdict.shows] for name in names}


def summary(graded: Sequence[Graded]) -> dict[str, float]:
    """An evaluation in a few numbers: reward (mean score), accuracy (mean acc; left out where no correctness
    is known), the ends of their 95 % intervals over questions (`_low`, `_high`), mean_length (action tokens),
    entropy (mean over action tokens, in nats; of a sampler that gives none the mean of -log-prob, which
    estimates it), n answers counted, the number of failed graders (their answers
    are not counted), the number of answers that the reward does not apply to if there are any, and
    working_share and reflection_share if the task recognises them."""
    counted = [g for g in graded if not np.isnan(g.verdict.score)]
    known = [g.verdict.acc for g in counted if not np.isnan(g.verdict.acc)]
    apart = sum(not g.verdict.applies for g in graded)
    uncertain = [-g.rollout.logp if g.rollout.entropy is None else g.rollout.entropy for g in counted]
    entropies = [
        values[g.rollout.is_action].astype(np.float64) for g, values in zip(counted, uncertain, strict=True)
    ]
    return (
        {
            **_with_interval("reward", [g.verdict.score for g in counted], interval),
            **(_with_interval("accuracy", known, interval_of_share) if known else {}),
            "mean_length": float(_share([g.rollout.num_actions for g in counted])),
            "entropy": float(_share(np.concatenate(entropies) if entropies else [])),
            "n": float(len(counted)),
            "failed": float(len(graded) - len(counted) - apart),
        }
        | ({"not_applicable": float(apart)} if apart else {})
        | {f"{name}_share": float(_share(values)) for name, values in scores_shown(counted).items()}
    )


def _with_interval(
    name: str, values: Sequence[float], ends: Callable[[NDArray], tuple[float, float]]
) -> dict[str, float]:
    if not values:
        return {name: 0.0}
    low, high = ends(np.asarray(values, dtype=np.float64))
    return {name: float(_share(values)), f"{name}_low": low, f"{name}_high": high}


def _mean(values: Tensor) -> Mean:
    return Mean(float(values.double().sum()), len(values))


def _share(values: Sequence[float] | NDArray) -> Mean:
    return Mean(float(np.sum(np.asarray(values, dtype=np.float64))), len(values))


def _std(values: Tensor) -> Mean:
    return Mean(float(values.double().std()) if len(values) > 1 else 0.0)


def _correctness(batch: Batch) -> dict[str, Metric]:
    """Accuracy, and the shares of the groups (of answers with a known verdict) that were all correct, all
    wrong, or mixed; {} where no correctness is known."""
    known = batch.valid & ~batch.acc.isnan()
    if not known.any():
        return {}
    names, group = torch.unique(batch.group[known], return_inverse=True)
    acc = batch.acc[known].double()
    size, right = (ragged.sum_by(values, group, len(names)) for values in (torch.ones_like(acc), acc))
    all_correct, all_wrong = right == size, right == 0
    return {
        "acc/mean": _mean(acc),
        "groups/all_correct": _mean(all_correct),
        "groups/all_wrong": _mean(all_wrong),
        "groups/mixed": _mean(~all_correct & ~all_wrong),
    }


def _lengths(batch: Batch) -> dict[str, Metric]:
    length = batch.action_lengths[batch.valid]
    acc = batch.acc[batch.valid]
    return {
        "len/mean": _mean(length),
        "len/p50": _quantile(length, 0.5),
        "len/p95": _quantile(length, 0.95),
        "len/max": Max(int(length.max()) if len(length) else 0),
        "len/correct": _mean(length[acc == 1]),
        "len/wrong": _mean(length[acc == 0]),
    }


def _entropies(entropy: Tensor) -> dict[str, Metric]:
    return {
        "entropy/mean": _mean(entropy),
        "entropy/p50": _quantile(entropy, 0.5),
        "entropy/p80": _quantile(entropy, 0.8),
        "entropy/p95": _quantile(entropy, 0.95),
        "entropy/lt001": _mean(entropy < 0.01),
    }


def _quantile(values: Tensor, q: float) -> Mean:
    return Mean(float(np.quantile(values.double().numpy(), q)) if len(values) else 0.0)


def _explained(value: Tensor, ret: Tensor) -> float:
    """1 - Var(ret - value) / Var(ret); 0 where the returns do not vary."""
    if len(ret) < 2 or ret.min() == ret.max():
        return 0.0
    return 1.0 - float((ret - value).double().var() / ret.double().var())


def _well_formed(graded: Graded) -> bool:
    """The form of docs/numerics.md, 13.3: the two tagged parts and nothing else, each tag once; the prompt
    may have opened <think> already."""
    text = graded.rollout.graded_text.strip()
    if graded.rollout.prompt.text.rstrip().endswith("<think>"):
        text = "<think>" + text
    return all(text.count(tag) == 1 for tag in TAGS) and FORMAT.fullmatch(text) is not None


def _boxed(text: str) -> bool:
    r"""A \boxed{...} whose braces close."""
    start = text.rfind(r"\boxed{")
    depth = 0
    for sign in re.findall(r"[{}]", text[start:]) if start >= 0 else ():
        depth += 1 if sign == "{" else -1
        if depth == 0:
            return True
    return False
