"""Everything that a run stored about the tokens of one answer, as columns with a unit and a sentence."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from menon.cli.show_group import Clip, clip_of, losses
from menon.errors import UserError
from menon.record.group import Logps, ratio_of
from menon.record.reader import RunView, StepFiles
from menon.settings import setting
from menon.unpacking import read_parquet

Scale = Literal["share", "rare", "amount", "order", "signed", "ratio", "flag"]
"""How a column is coloured: from 0 to 1, from 1 to 0, from 0 up, from its least to its largest, around 0,
around 1, or yes and no."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One number for each token of an answer."""

    name: str
    label: str
    unit: str
    about: str
    """What the number is, in one sentence."""
    scale: Scale
    values: Floats
    """[L]; NaN where the token has none."""


@dataclass(frozen=True)
class Tokens:
    """The stored columns of one answer of L tokens."""

    stored: Mapping[str, Any]
    """Column of the transcript -> [L] array, or one value."""
    view: RunView
    step: int
    row: int

    @property
    def is_action(self) -> NDArray[np.bool_]:
        return self.stored["is_action"]

    @property
    def begin(self) -> int:
        """Tokens before the first that the policy wrote."""
        acts = self.is_action
        return int(acts.argmax()) if acts.any() else len(acts)

    @property
    def trained(self) -> NDArray[np.bool_]:
        """[L] a loss may touch the token."""
        learned = self.stored.get("learn", True) and not math.isnan(self.stored.get("score", math.nan))
        return self.is_action & bool(learned)

    def __getitem__(self, name: str) -> Floats:
        """[L] a stored column; NaN where the policy did not write the token."""
        return np.where(self.is_action, self.stored[name].astype(np.float64), np.nan)

    def has(self, *names: str) -> bool:
        return all(isinstance(self.stored.get(name), np.ndarray) for name in names)


def read_tokens(view: RunView, files: StepFiles, step: int, row: int) -> Tokens:
    """The columns of one row of a step's file, without the alternatives. One column is read at a time, so the
    memory is that of the widest. UserError if there is no such row."""
    path = files.path(step)
    schema = pq.read_schema(path)
    stored: dict[str, Any] = {}
    for name in schema.names:
        if name.startswith("alternatives"):
            continue
        column = read_parquet(path, [name])[name]
        check_row(view, step, row, len(column))
        stored[name] = cell(column, row)
    return Tokens(stored, view, step, row)


def check_row(view: RunView, step: int, row: int, rows: int) -> None:
    """UserError if a step has no such row."""
    if row >= rows:
        raise UserError(f"step {step} of {view.name} has {rows} answers, and no answer {row}")


def cell(column: pa.ChunkedArray, row: int) -> Any:
    """One value of a column: an array of a list of numbers, a dictionary of a map, else as it is."""
    value = column[row]
    if pa.types.is_map(column.type):
        return dict(value.as_py() or ())
    if pa.types.is_large_list(column.type) or pa.types.is_list(column.type):
        return np.zeros(0) if value.values is None else value.values.to_numpy(zero_copy_only=False)
    return value.as_py()


def columns_of(tokens: Tokens) -> list[Column]:
    """The columns of the transcript in the order in which a page offers them; `updates_of` has more."""
    return [*written(tokens), *policies(tokens), *credit(tokens), *values_of(tokens)]


def written(tokens: Tokens) -> list[Column]:
    """Of the writing: probability, entropy, mass kept, version."""
    found = []
    if tokens.has("behaviour_logp"):
        logp = np.exp(tokens["behaviour_logp"])
        about = "when it was written, at the sampling temperature"
        found.append(Column("probability", "probability", "0 to 1", about, "rare", logp))
    plain: Sequence[tuple[str, str, str, str, Scale]] = (
        ("entropy", "entropy", "nats", "of the choice that the token was drawn from", "amount"),
        ("version", "version", "steps", "version of the weights that wrote it", "order"),
    )
    found += [Column(*one, tokens[one[0]]) for one in plain if tokens.has(one[0])]
    if tokens.has("log_kept") and np.nanmin(np.r_[tokens["log_kept"], 0]) < 0:
        about = "share of the probability that top-p and top-k kept"
        found.append(Column("kept", "mass kept", "0 to 1", about, "rare", np.exp(tokens["log_kept"])))
    return found


def policies(tokens: Tokens) -> list[Column]:
    """How far policies are apart: learner and sampler, reference, teacher."""
    found = []
    old = "old_logp" if tokens.has("old_logp") else "behaviour_logp"
    if tokens.has("old_logp", "behaviour_logp"):
        about = "log-prob by the learner before the step minus that by the sampler"
        apart = tokens["old_logp"] - tokens["behaviour_logp"]
        found.append(Column("mismatch", "learner - sampler", "nats", about, "signed", apart))
    for name, label in (("ref_logp", "reference"), ("teacher_logp", "teacher")):
        if tokens.has(name, old):
            apart = tokens[old] - tokens[name]
            about = f"log-prob by the policy before the step minus that by the {label}"
            found.append(Column(name, f"policy - {label}", "nats", about, "signed", apart))
    if tokens.has("ref_logp", old):
        apart = tokens["ref_logp"] - tokens[old]
        with np.errstate(over="ignore"):
            kl = np.expm1(apart) - apart
        about = "estimate k3 of the divergence from the reference at this token"
        found.append(Column("kl", "KL (k3)", "nats", about, "amount", kl))
    return found


def credit(tokens: Tokens) -> list[Column]:
    """Of the credit: advantage, reward, value target."""
    found = []
    if tokens.has("advantage"):
        values = np.where(tokens.trained, tokens["advantage"], np.nan)
        about = "as the losses read it; none where the token was not learned from"
        found.append(Column("advantage", "advantage", "of reward, or deviations", about, "signed", values))
    if tokens.has("reward"):
        about = "after shaping, where it was earned"
        found.append(
            Column("reward", "reward", "of reward", about, "signed", tokens.stored["reward"].astype(float))
        )
    if tokens.has("ret"):
        found.append(
            Column("ret", "value target", "of reward", "what the critic learns", "signed", tokens["ret"])
        )
    return found


def values_of(tokens: Tokens) -> list[Column]:
    """Values by a critic or by new answers, and what else was stored about the token."""
    plain: Sequence[tuple[str, str, str, str, Scale]] = (
        ("value", "value", "of reward", "the critic's, of the state before the token", "signed"),
        ("value_after", "value after", "of reward", "the critic's, of the state after the token", "signed"),
        ("state_value", "sampled value", "of reward", "mean reward of new answers from before it", "signed"),
        ("collision", "collision", "0 to 1", "chance that two draws agree here", "share"),
        ("answer_prob", "answer's probability", "0 to 1", "of the gold answer after the reasoning", "share"),
        ("answer_prior", "answer's prior", "0 to 1", "of the gold answer without the reasoning", "share"),
    )
    return [Column(*one, tokens[one[0]]) for one in plain if tokens.has(one[0])]


def updates_of(tokens: Tokens) -> list[Column]:
    """What each update did: the weight of each term, the ratio, what was clipped, the push of the policy's
    loss, and by how much the log-prob moved. UserError where the run did not record it."""
    found: list[Column] = []
    records = records_of(tokens.view, tokens.step, tokens.row)
    clip, name = clip_of(tokens.view.settings), clipped_term(tokens.view.settings)
    for record in records.rows:
        if len(record["weight"]) != len(tokens.is_action):
            continue
        term, update = record["term"], record["update"]
        weight = np.where(tokens.is_action, record["weight"], np.nan)
        key, of = f"{term}/{update}", f"{term}, update {update}"
        selected = np.where(tokens.is_action, record["weight"] != 0, np.nan)
        about = f"share in the loss {term} of update {update}; 0: not in it"
        found.append(Column(f"weight/{key}", f"weight: {of}", "of the loss", about, "signed", weight))
        about = f"whether the loss {term} of update {update} has the token"
        found.append(Column(f"selected/{key}", f"selected: {of}", "yes or no", about, "flag", selected))
        if record["logp_before"] is not None:
            found += moved(tokens, record, records.first == update, clip if term == name else None)
    return list({column.name: column for column in found}.values())


def moved(tokens: Tokens, record: Mapping[str, Any], first: bool, clip: Clip | None) -> list[Column]:
    """The ratio around an update, and the policy loss's clip and push where it is a clipped one."""
    update, before, after = record["update"], record["logp_before"], record["logp_after"]
    logps = Logps(update, 1, first, before.astype(np.float64), after.astype(np.float64))
    old = tokens.stored.get("old_logp")
    trained = tokens.trained
    ratio = ratio_of(logps, 0, None if old is None else old.astype(np.float64), trained)
    step = np.where(tokens.is_action, logps.after - logps.before, np.nan)
    found = [
        Column(
            f"ratio/{update}",
            f"ratio: update {update}",
            "times",
            "probability in the update divided by the old one",
            "ratio",
            ratio.before,
        ),
        Column(
            f"after/{update}",
            f"ratio after update {update}",
            "times",
            "the same when the update was made",
            "ratio",
            ratio.after,
        ),
        Column(
            f"moved/{update}",
            f"moved: update {update}",
            "nats",
            "log-prob after the update minus before it",
            "signed",
            step,
        ),
    ]
    if clip is not None and tokens.has("advantage"):
        advantage = tokens["advantage"]
        clipped = np.where(trained, clip.clips(ratio.before, advantage), np.nan)
        push = record["weight"] * advantage * np.where(clipped == 1, 0, ratio.before)
        bounds = f"below {clip.low:g} or above {clip.high:g}"
        found += [
            Column(
                f"clipped/{update}",
                f"clipped: update {update}",
                "yes or no",
                f"the bound {bounds} took its gradient",
                "flag",
                clipped,
            ),
            Column(
                f"push/{update}",
                f"push: {record['term']}, update {update}",
                "of the loss per nat",
                "weight x advantage x ratio, 0 where clipped: what the loss asks for",
                "signed",
                push,
            ),
        ]
    return found


def clipped_term(settings: Mapping[str, Any]) -> str | None:
    """The term of the objective whose loss is PPO's clipped one, whose push is weight x advantage x ratio."""
    terms = (settings.get("objective") or {}).items()
    return next(
        (
            name
            for name, term in terms
            if any(one.get("kind") == "ppo_clip" for one in losses({"objective": {name: term}}))
        ),
        None,
    )


@dataclass(frozen=True)
class Records:
    rows: Sequence[Mapping[str, Any]]
    """update, model, term, weight, logp_before, logp_after of each update and term that had the answer."""
    first: int | None
    """The policy's first update of the step, where the loss compares with the policy before it."""


def records_of(view: RunView, step: int, row: int) -> Records:
    """What the updates of a step did to one answer."""
    path = view.updates.path(step)
    table = read_parquet(path, None, [("sequence", "=", row)])
    rows = [
        {name: cell(table[name], place) for name in ("update", "model", "term")}
        | {
            name: None if not table[name][place].is_valid else cell(table[name], place)
            for name in ("weight", "logp_before", "logp_after")
        }
        for place in range(table.num_rows)
    ]
    if setting(view.settings, "old", "trainer") != "trainer":
        return Records(rows, None)
    about = read_parquet(path, ["update", "model"])
    policy = about.filter(pa.compute.equal(about["model"], "policy"))["update"]
    return Records(rows, min(policy.to_pylist(), default=None))


Speak = Callable[[int], str | None]
"""Token -> its text, None where it is not known."""


def speaker(view: RunView, pieces: Mapping[int, str]) -> Speak:
    """The texts of tokens: by the tokenizer of the newest checkpoint; without one those that the answer
    itself shows."""
    for step in reversed(view.checkpoints):
        file: Path = view.layout.checkpoint(step) / "tokenizer.json"
        if file.is_file():
            from tokenizers import Tokenizer

            try:
                tokenizer = Tokenizer.from_file(str(file))
            except Exception:  # the library's own class, for a damaged file
                break
            return lambda token: tokenizer.decode([token], skip_special_tokens=False)
    return pieces.get
