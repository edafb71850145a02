"""Everything that a run folder says about entropy, as one plain dictionary, which is stored in the folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from menon.errors import UserError, at_least
from menon.record import disk
from menon.record.alarm import alarms
from menon.record.reader import RunView
from menon.settings import setting
from menon.study import covariance, entropy_law
from menon.study.bins import change_by_bin
from menon.study.checkpoints import Policies, Tokens, tokens_of_run
from menon.study.forking import N_MIN, tables
from menon.study.measures import spread
from menon.study.overlap import overlap
from menon.study.run_points import attempt, points

RESULT = "entropy.json"
FORECAST = "entropy_forecast.json"
SHARES = {"a twelfth": 1 / 12, "a third": 1 / 3}
"""Shares of the steps for which the paper says how much of the entropy was spent and how much of the score
was gained."""


@dataclass(frozen=True)
class EntropyStudy:
    """The settings of the study."""

    transcripts: int = 5
    """How many last steps give the fixed set of answers."""
    n_min: int = N_MIN
    """Fewest occurrences of a token in the forking tables."""
    rows: int = 100
    """Rows of the tables of forking tokens."""
    tokens_per_forward: int = 8192
    """Padded tokens of a forward pass: memory only."""
    threads: int | None = None
    """Without a number as many as are free."""

    def __post_init__(self) -> None:
        for name in ("transcripts", "n_min", "rows", "tokens_per_forward"):
            at_least(1, name, getattr(self, name))


def study(run: Path, settings: EntropyStudy = EntropyStudy()) -> dict[str, Any]:
    """Studies a run that is done or running, and stores `study/entropy.json` in its folder. A part that this
    run cannot give is {"missing": why}. UserError: there is no run, or no step."""
    view = RunView.open(run)
    lines = view.finished_steps()
    planned = max(int(setting(view.settings, "steps", 0)), len(lines))
    entropy = [line["entropy/mean"] for line in lines]
    tokens, steps = tokens_of_run(view, settings.transcripts)
    policies = Policies(view, settings.tokens_per_forward)
    scored = attempt(lambda: fixed_answers(policies, tokens))
    found = {
        "steps": len(lines),
        "entropy": {"first": entropy[0], "last": entropy[-1]},
        "law": attempt(lambda: law(view, planned)),
        "alarms": [asdict(alarm) for alarm in alarms(entropy, [line["reward/mean"] for line in lines])],
        "covariance": attempt(lambda: covariances(view)),
        "tokens": {"steps": steps, **asdict(spread(np.concatenate([t.entropy for t in tokens])))},
        "first_step": asdict(spread(tokens_of_run(view, 1, first=True)[0][0].entropy)),
        "fixed_answers": scored,
        "forking": attempt(lambda: forking(policies, tokens, settings)),
    }
    disk.own_folder(view.layout.study)
    disk.write_json(view.layout.study / RESULT, found)
    return found


# The law


def law(view: RunView, planned: int) -> dict[str, Any]:
    """The fitted law of score and entropy, and its forecast."""
    score, h, r = points(view)
    fitted = entropy_law.fit(h, r)
    spent = {
        name: [entropy_law.spent(h, share), entropy_law.spent(r, share)] for name, share in SHARES.items()
    }
    expected = round(planned * len(h) / len(view.metrics))
    early = attempt(lambda: forecast(view, score, h, r, entropy_law.early_points(expected)))
    return {
        "score": score,
        **law_numbers(fitted),
        "best": max(r),
        "last": r[-1],
        "spent": spent,
        "forecast": early,
    }


def forecast(view: RunView, score: str, h: list[float], r: list[float], count: int) -> dict[str, Any]:
    """The forecast from the first `count` points. It is stored when it is first made; after that it is only
    scored, as long as the run's first points are the same."""
    file = view.layout.study / FORECAST
    made = disk.read_json(file)
    if not isinstance(made, dict) or made["h"] != h[: len(made["h"])] or made["r"] != r[: len(made["r"])]:
        if len(h) < count:
            raise UserError(
                f"a forecast is made from the first {count} points, and there are {len(h)}; let the run go on"
            )
        made = {"score": score, "h": h[:count], "r": r[:count], "made_after": len(h)}
        entropy_law.fit(made["h"], made["r"])
        disk.own_folder(file.parent)
        disk.write_json(file, made)
    early, used = entropy_law.fit(made["h"], made["r"]), len(made["h"])
    scored = asdict(entropy_law.judge(early, h[used:], r[used:])) if len(h) > used else None
    return {**law_numbers(early), "made_after": made["made_after"], "scored": scored}


def law_numbers(fitted: entropy_law.Law) -> dict[str, Any]:
    """A fitted law as plain data, with its ceiling."""
    return {**asdict(fitted), "ceiling": fitted.ceiling}


# Tokens


def covariances(view: RunView) -> dict[str, Any]:
    """The covariances of every step, and their correlation with the change of the entropy; over the batch and
    inside prompt groups."""
    known = {line["step"]: line["entropy/mean"] for line in view.metrics}
    there = [step for step in view.transcripts.require() if step in known]
    if len(there) != len(known):
        raise UserError(
            f"{view.path} holds {len(there)} transcripts of {len(known)} steps; the covariance "
            "follows all of them"
        )
    steps = [covariance.of_step(view.transcripts.batch(step)) for step in there]
    entropy = list(known.values())

    def towards(name: str) -> dict[str, Any]:
        return attempt(lambda: {"correlation": covariance.direction(entropy, [step[name] for step in steps])})

    positive = sum(step["mean"] > 0 for step in steps)
    return {
        "first": steps[0],
        "last": steps[-1],
        "positive": positive,
        "mean": towards("mean"),
        "group": towards("group"),
    }


def fixed_answers(policies: Policies, tokens: list[Tokens]) -> dict[str, Any]:
    """Entropies of the same answers under the base and under each checkpoint."""
    named = policies.named()
    base = policies.entropies("start", tokens)
    others = {step: policies.entropies(step, tokens) for step in named}
    last = others[max(named)]
    rows = [{"step": 0, "mean": float(base.mean()), "with_base": 1.0, "with_last": overlap(last, base)}]
    for step, values in others.items():
        row = {
            "step": step,
            "mean": float(values.mean()),
            "with_base": overlap(values, base),
            "with_last": overlap(last, values),
        }
        rows.append(row)
    return {"tokens": len(base), "overlap": rows, "bins": [asdict(b) for b in change_by_bin(base, last)]}


def forking(policies: Policies, tokens: list[Tokens], settings: EntropyStudy) -> dict[str, Any]:
    """The tables of forking tokens, with the text of each token."""
    token, entropy = (np.concatenate([getattr(t, name) for t in tokens]) for name in ("token", "entropy"))
    found = asdict(tables(token, entropy, settings.n_min, settings.rows))
    for row in found["top"] + found["bottom"]:
        row["text"] = policies.text(row["token"])
    return found
