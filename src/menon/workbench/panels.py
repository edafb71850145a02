"""Which numbers of a run are drawn together, and what a reader should know of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from menon.metric_names import described
from menon.report import curves as said

Scale = Literal["", "log"]


@dataclass(frozen=True)
class Series:
    """One number of each step."""

    name: str
    """Its name in metrics.jsonl, of `held` ones in evaluations.jsonl; may be a pattern (`loss/*`)."""
    label: str = ""
    """"": its name."""
    held: bool = False
    """Measured on the held-out questions, with an interval where the file has one."""
    positive: bool = False
    """0 stands for "there were none" and is not drawn."""


@dataclass(frozen=True)
class Panel:
    """One chart."""

    key: str
    title: str
    series: tuple[Series, ...]
    note: str = ""
    unit: str = ""
    low: float | None = None
    """The scale begins here or lower; `high` likewise."""
    high: float | None = None
    stacked: bool = False
    """Drawn as areas on top of each other; of one run alone."""
    scale: Scale = ""


def named(names: dict[str, str]) -> tuple[Series, ...]:
    """Numbers of the steps with their labels."""
    return tuple(Series(name, label) for name, label in names.items())


def both(training: str, held: str = "") -> tuple[Series, ...]:
    """A number in training and on the held-out questions."""
    return Series(training, "training"), Series(held or training, "held out", held=True)


def single(name: str) -> Panel:
    """The chart of one number alone, or of a pattern."""
    about = described(name)
    return Panel(
        name, name, (Series(name, name),), about.meaning if about else "", about.unit if about else ""
    )


KL = {"kl/ref_k1": "to the reference, k1", "kl/ref_k3": "to the reference, k3", "kl/old": "to the old policy"}
KL |= {"kl/ref_full": "to the reference, whole vocabulary", "kl/teacher_k1": "to the teacher, k1"}
COMPOSITION = {"groups/all_correct": "all right", "groups/mixed": "mixed", "groups/all_wrong": "all wrong"}
STAGES = ("rollout", "score", "advantage", "update", "sync", "report", "other")
COVARIANCE = {"cov/mean": "mean", "cov/top2": "largest 2 %", "cov/top20": "largest 20 %"}
PANELS: dict[str, tuple[Panel, ...]] = {
    "Learning": (
        Panel("accuracy", "Accuracy", both("acc/mean", "accuracy"), said.ACCURACY_NOTE, "share", 0, 1),
        Panel("reward", "Reward", both("reward/mean", "reward"), "What the grader gives to an answer."),
        Panel("nll", "Loss on given text", both("nll"), said.GIVEN_NOTES["nll"], "nats a token", 0),
        Panel(
            "pairs",
            "Pairs put right",
            both("pairs/accuracy"),
            said.GIVEN_NOTES["pairs/accuracy"],
            "share",
            0,
            1,
        ),
        Panel("margin", "Margin of a pair", both("pairs/margin"), said.GIVEN_NOTES["pairs/margin"]),
        Panel(
            "kto", "Answers put right", both("kto/accuracy"), said.GIVEN_NOTES["kto/accuracy"], "share", 0, 1
        ),
        Panel("teacher", "Distance to the teacher", both("distill/divergence"), said.TEACHER_NOTE, "nats", 0),
        Panel(
            "parts", "Parts of the reward", (Series("reward/parts/*"),), "Mean over the answers of a step."
        ),
    ),
    "Answers": (
        Panel(
            "length",
            "Length by correctness",
            (
                Series("len/correct", "right", positive=True),
                Series("len/wrong", "wrong", positive=True),
                Series("mean_length", "held out", held=True),
            ),
            said.LENGTHS_NOTE,
            "tokens",
            0,
        ),
        Panel(
            "lengths",
            "Length",
            named(
                {"len/mean": "mean", "len/p50": "median", "len/p95": "95th percentile", "len/max": "longest"}
            ),
            said.LENGTHS_OF_ALL,
            "tokens",
            0,
        ),
        Panel(
            "finish",
            "Cut off",
            named({"trunc_rate": "cut at max_new_tokens"}),
            "Share of answers that did not end by themselves.",
            "share",
            0,
        ),
        Panel(
            "shows",
            "Working and reflection",
            (Series("shows/*"), Series("refl/rate", "words of reflection"), Series("*_share", held=True)),
            "Share of answers.",
            "share",
            0,
            1,
        ),
        Panel(
            "repeat",
            "Repetition",
            named({"repeat_score": "repetition"}),
            "How much an answer repeats itself: 0 to 1.",
            low=0,
        ),
    ),
    "Entropy": (
        Panel("entropy", "Entropy of tokens", named(said.ENTROPY), said.ENTROPY_NOTE, "nats", 0),
        Panel(
            "certain",
            "Settled tokens",
            named({"entropy/lt001": "below .01 nats"}),
            "Share of tokens whose entropy is below .01: the policy hardly chooses there.",
            "share",
            0,
            1,
        ),
        Panel(
            "covariance",
            "Covariance of log-prob and advantage",
            named(COVARIANCE),
            "It drives the entropy down (numerics 7.12).",
            "nats",
        ),
    ),
    "Groups": (
        Panel(
            "composition",
            "Composition of groups",
            named(COMPOSITION),
            "Share of the groups of a step by their answers.",
            "share",
            0,
            1,
            stacked=True,
        ),
        Panel(
            "varied",
            "Groups that teach",
            named({"groups/varied": "rewards differ"}),
            said.GROUPS_NOTE,
            "share",
            0,
            1,
        ),
        Panel(
            "dynamic",
            "Groups asked for",
            named({"dynamic/groups_generated": "written", "dynamic/groups_kept": "kept"}),
            "Of dynamic sampling.",
            "groups",
            0,
        ),
    ),
    "Updates": (
        Panel("clip", "Clip", named(said.CLIP | {"clip/dual": "dual clip"}), said.CLIP_NOTE, "share", 0),
        Panel(
            "ratio",
            "Ratio",
            named({"ratio/mean": "mean", "ratio/max": "largest"}),
            "New over old probability of a token; 1 before the first update of a step.",
        ),
        Panel("kl", "KL", named(KL), "How far the policy is from others, mean over tokens.", "nats a token"),
        Panel("kl_seq", "KL of a whole answer", named({"kl/seq": "to the reference"}), said.KL_NOTE, "nats"),
        Panel(
            "mismatch",
            "Sampler against learner",
            named({"mismatch/abs": "mean difference", "mismatch/k3": "KL, k3"}),
            "Difference of their log-probs under the same weights: only rounding, unless something is wrong.",
            "nats",
            scale="log",
        ),
        Panel(
            "mismatch_max",
            "Sampler against learner, worst token",
            named({"mismatch/max_w": "ratio"}),
            "Largest ratio of the learner's to the sampler's probability; 1: they agree.",
        ),
        Panel(
            "gradient",
            "Gradient norm",
            named({"grad_norm": "policy", "critic/grad_norm": "critic"}),
            said.GRADIENT_NOTE,
            low=0,
        ),
        Panel(
            "loss",
            "Loss by term",
            (Series("loss/*"),),
            "Sum over the step's updates, coefficient included. It need not fall while a policy learns.",
        ),
        Panel(
            "advantage",
            "Advantage",
            named({"adv/mean": "mean", "adv/std": "deviation", "adv/absmax": "largest, absolute"}),
            "Over trained tokens.",
        ),
        Panel("critic", "Critic", named(said.CRITIC), said.CRITIC_NOTE, high=1),
        Panel(
            "rate", "Learning rate", named({"learning_rate": "rate"}), "Mean over the updates made.", low=0
        ),
        Panel(
            "skipped",
            "Updates not made",
            named({"update/empty": "no token had weight", "update/skipped": "gradient not finite"}),
            "Of the step's updates.",
            "updates",
            0,
        ),
    ),
    "Staleness": (
        Panel(
            "staleness",
            "Age of tokens",
            named({"staleness/mean": "mean", "staleness/max": "oldest"}),
            "How many versions older than the learning weights the weights were that wrote a token.",
            "versions",
            0,
        ),
        Panel(
            "several", "Answers of several versions", named({"staleness/several": "share"}), "", "share", 0
        ),
        Panel(
            "waiting",
            "Groups of later steps",
            named({"async/groups_open": "begun", "async/groups_ready": "whole, waiting"}),
            "",
            "groups",
            0,
        ),
    ),
    "Time and memory": (
        Panel(
            "time",
            "Time by stage",
            named({f"time/{one}": one for one in STAGES}),
            "Where a step's time goes.",
            "seconds",
            0,
            stacked=True,
        ),
        Panel("tokens", "Tokens written", named({"tokens/generated": "in the step"}), "", "tokens", 0),
        Panel(
            "memory", "Memory", named({"memory/gib": "processes", "memory/device_gib": "GPU"}), "", "GiB", 0
        ),
    ),
}
KEYS = {panel.key: panel for group in PANELS.values() for panel in group}


def found(panel: Panel, metrics: Sequence[str], held: Sequence[str]) -> list[Series]:
    """The numbers of a panel that there are, patterns written out."""
    there: list[Series] = []
    for series in panel.series:
        names = held if series.held else metrics
        for name in names if "*" in series.name else [series.name] if series.name in names else []:
            if fnmatchcase(name, series.name):
                part = name.rpartition("/")[2]
                label = series.label or (f"{part.removesuffix('_share')}, held out" if series.held else part)
                there.append(Series(name, label, series.held, series.positive))
    return there


def others(metrics: Sequence[str]) -> list[str]:
    """The numbers of the steps that no panel draws."""
    drawn = {one.name for panel in KEYS.values() for one in found(panel, metrics, ())}
    return [name for name in metrics if name not in drawn]
