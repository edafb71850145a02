"""Writes what a reader gives as an ordinary run folder, which every view and command reads."""

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from menon.cli.plain_json import plain
from menon.errors import UserError, first_line
from menon.record import disk
from menon.record.layout import Layout, runs_in, step_file
from menon.record.parquet import write_table
from menon.record.reader import FORMAT
from menon.record.spans import TextSpans
from menon.workbench.peers import (
    agent_sessions,
    atif,
    prime_rl,
    slime,
    tensorboard,
    trackio,
    trl,
    verifiers_traces,
    verl,
    wandb_offline,
)
from menon.workbench.peers.peer import NAN, Answer, Line, Peer

OF_ANSWERS = (verl, trl, prime_rl, slime, verifiers_traces, atif, agent_sessions)
OF_METRICS = (wandb_offline, tensorboard)
READERS = (*OF_ANSWERS, *OF_METRICS)
"""In this order: of several that give answers, or metrics, the first counts."""
KNOWN = "verl, TRL, prime-rl, slime, Miles, verifiers, ATIF, trackio, Weights & Biases and TensorBoard"
INTEGERS = {"tokens": pa.int64(), "is_action": pa.bool_()}
ALWAYS = ("tokens", "is_action", "behaviour_logp", "reward", "advantage")
"""Columns of tokens that every transcript has."""


@dataclass(frozen=True)
class Imported:
    """What an import has written."""

    run: Path
    kinds: tuple[str, ...]
    steps: int
    answers: int
    missing: tuple[str, ...]
    faults: tuple[str, ...]


def peers_of(folder: Path, run: str | None = None) -> list[Peer]:
    """What the readers recognise in a folder: at most one with answers, and one with metrics. `run` is the
    name of a run, where a file holds several (trackio). UserError: nothing, or no run of this name."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the folder that the other library wrote")
    if runs_in(folder):
        raise UserError(f"{folder} holds runs of menon already; open them with `menon workbench {folder}`")
    found = [peer] if (peer := trackio.read(folder, run)) is not None else []
    refused: list[UserError] = []
    for reader in READERS:
        try:
            peer = reader.read(folder)
        except UserError as error:  # it may be another library's folder, with a file of this kind in it
            refused.append(error)
            continue
        found += [] if peer is None else [peer]
    if not found and refused:
        raise refused[0]
    with_answers = [peer for peer in found if peer.steps][:1]
    metrics = [peer for peer in found if not peer.steps][:1]
    if not found:
        raise UserError(f"{folder} holds nothing that menon can read; it knows the dumps of {KNOWN}")
    return [*with_answers, *metrics]


def kinds_of(folder: Path) -> tuple[str, ...]:
    """The libraries whose dumps lie in a folder, by the rules of `peers_of`: at most one with answers and one
    with metrics. Of each format it reads no more than the beginning of a file, so a folder is named in
    milliseconds; trackers' files are looked for three folders deep. A folder that cannot be read has none."""
    found: list[str] = []
    for readers in (OF_ANSWERS, (trackio, *OF_METRICS)):
        for reader in readers:
            with suppress(OSError, ValueError, UserError):
                if kind := reader.named(folder):
                    found.append(kind)
                    break
    return tuple(found)


def write_run(folder: Path, out: Path, spans: TextSpans | None = None, run: str | None = None) -> Imported:
    """Writes a run folder: run.json, a transcript for each step, and the lines of metrics. The steps are
    written one after the other, each before its line, so the first can be looked at while others follow.
    `spans` turns tokens into text. UserError: nothing to read, or `out` holds a run."""
    peers = peers_of(folder, run)
    layout = Layout(out)
    if layout.about.exists():
        raise UserError(f"{out} holds a run already; set out= to a new folder")
    missing = missing_of(peers, spans is not None)
    disk.own_folder(out)
    kinds = tuple(peer.kind for peer in peers)
    about: dict[str, Any] = {
        "format": FORMAT,
        "settings": {"recipe": f"imported from {' and '.join(kinds)}"},
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "imported": {
            "kinds": kinds,
            "folder": str(folder.resolve()),
            "missing": missing,
            "settings": plain({key: value for peer in peers for key, value in peer.settings().items()}),
        },
    }
    disk.write_json(layout.about, about)
    recorded = {line["step"]: line for peer in peers for line in peer.lines()}
    with_answers = next((peer for peer in peers if peer.steps), None)
    steps = sorted({*recorded, *(with_answers.steps if with_answers else ())})
    count = 0
    for step in steps:
        line: Line = {"step": step}
        if with_answers is not None and step in with_answers.steps:
            try:
                answers = with_answers.answers(step)
                table = table_of(step, answers, spans)
            except Exception as error:  # a step that is broken, or still being written
                why = f"{type(error).__name__}: {first_line(error)}"
                with_answers.faults.append(f"the answers of step {step} cannot be read ({why})")
                continue
            write_table(step_file(disk.own_folder(layout.transcripts), step), table)
            count += len(answers)
            line |= measured(answers)
        line |= recorded.get(step, {})
        disk.append(layout.metrics, (json.dumps(plain(line), allow_nan=False) + "\n").encode())
    faults = tuple(fault for peer in peers for fault in peer.faults)
    disk.write_json(layout.about, about | {"imported": {**about["imported"], "faults": faults}})
    return Imported(out, kinds, len(steps), count, missing, faults)


def missing_of(peers: Sequence[Peer], texts: bool) -> tuple[str, ...]:
    """What none of them holds: the metrics that one lacks, another may have."""
    has_answers, has_metrics = any(p.steps for p in peers), any(not p.steps for p in peers)
    said = []
    for peer in peers:
        for sentence in peer.missing:
            if (has_answers and sentence.startswith("answers")) or (
                has_metrics and sentence.startswith("metrics")
            ):
                continue
            if not (texts and sentence.startswith("texts")):
                said.append(sentence)
    return tuple(said)


def table_of(step: int, answers: Sequence[Answer], spans: TextSpans | None) -> pa.Table:
    """The answers as a transcript (docs/run_folder.md): the columns that every reader expects, and those of
    tokens that the dump has."""
    texts = [spans(np.array(a.tokens["tokens"], np.int32)) if spans and a.tokens else None for a in answers]
    told = [said(one, text) for one, text in zip(answers, texts, strict=True)]
    columns: dict[str, pa.Array] = {
        "step": pa.array([step] * len(answers), pa.int64()),
        "group": pa.array([a.group for a in answers], pa.int64()),
        "sample": pa.array([a.sample for a in answers], pa.int64()),
        "prompt_index": pa.array([a.group for a in answers], pa.int64()),
        "prompt": pa.array([sound(prompt) for prompt, _ in told], pa.string()),
        "answer": pa.array([None if a.gold is None else sound(a.gold) for a in answers], pa.string()),
        "completion": pa.array([sound(completion) for _, completion in told], pa.string()),
        "finish": pa.array([a.finish or "unknown" for a in answers], pa.string()),
        "score": pa.array([a.score for a in answers], pa.float64()),
        "acc": pa.array([NAN] * len(answers), pa.float64()),
        "parts": pa.array([list(a.parts.items()) for a in answers], pa.map_(pa.string(), pa.float64())),
        "error": pa.array([""] * len(answers), pa.string()),
        "node": pa.array([-1] * len(answers), pa.int64()),
        "parent": pa.array([-1] * len(answers), pa.int64()),
        "depth": pa.array([0] * len(answers), pa.int64()),
        "node_value": pa.array([NAN] * len(answers), pa.float64()),
        "standard_error": pa.array([NAN] * len(answers), pa.float64()),
        "learn": pa.array([True] * len(answers), pa.bool_()),
        "age": pa.array([0] * len(answers), pa.int64()),
    }
    if any(a.advantage is not None for a in answers):
        values = [NAN if a.advantage is None else a.advantage for a in answers]
        columns["answer_advantage"] = pa.array(values, pa.float64())
    for name in sorted({*ALWAYS, *(name for a in answers for name in a.tokens)}):
        kind = pa.large_list(INTEGERS.get(name, pa.float32()))
        columns[name] = pa.array([column_of(a, name) for a in answers], kind)
    if spans is not None or not any(a.tokens for a in answers):
        columns["text"] = pa.array(
            [sound(text[0] if text else "".join(pair)) for text, pair in zip(texts, told, strict=True)],
            pa.string(),
        )
        starts = [text[1].tolist() if text else [] for text in texts]
        columns["text_start"] = pa.array(starts, pa.large_list(pa.int32()))
    return pa.table(columns)


def column_of(one: Answer, name: str) -> list[Any]:
    """A column of an answer's tokens: empty where the dump has no tokens, NaN where it does not have their
    column."""
    if name in one.tokens or name in INTEGERS:
        return list(one.tokens.get(name, ()))
    return [NAN] * len(one.tokens.get("tokens", ()))


def said(one: Answer, text: tuple[str, Any] | None) -> tuple[str, str]:
    """The texts of prompt and answer, those of the dump or, where it has none, of the tokens."""
    if one.prompt or one.completion or text is None:
        return one.prompt, one.completion
    whole, start = text
    mask = list(one.tokens["is_action"])
    place = mask.index(True) if True in mask else len(mask)
    cut = int(start[place]) if place < len(mask) else len(whole)
    return whole[:cut], whole[cut:]


def measured(answers: Sequence[Answer]) -> Line:
    """What follows from the answers of a step, under the names of `menon.metric_names`."""
    scores = [a.score for a in answers if not math.isnan(a.score)]
    line: Line = {}
    if scores:
        line["reward/mean"] = statistics.fmean(scores)
        line["reward/std"] = statistics.stdev(scores) if len(scores) > 1 else 0.0
        groups: dict[int, set[float]] = {}
        for a in answers:
            groups.setdefault(a.group, set()).add(a.score)
        line["groups/varied"] = statistics.fmean(len(values) > 1 for values in groups.values())
    if answers and all(a.tokens for a in answers):
        lengths = [sum(map(bool, a.tokens["is_action"])) for a in answers]
        line |= {"len/mean": statistics.fmean(lengths), "len/max": max(lengths)}
        line["tokens/generated"] = sum(lengths)
        line |= means_of(answers)
    if answers and all(a.finish is not None for a in answers):
        line["trunc_rate"] = statistics.fmean(a.finish == "length" for a in answers)
    return line


def means_of(answers: Sequence[Answer]) -> Mapping[str, float]:
    """Means over the tokens that the policy wrote."""

    def values(name: str) -> np.ndarray | None:
        if not all(name in a.tokens for a in answers):
            return None
        masks = np.concatenate([np.asarray(a.tokens["is_action"], bool) for a in answers])
        return np.concatenate([np.asarray(a.tokens[name], np.float64) for a in answers])[masks]

    found: dict[str, float] = {}
    if (entropy := values("entropy")) is not None and len(entropy):
        found["entropy/mean"] = float(entropy.mean())
    new, old = values("old_logp"), values("behaviour_logp")
    if new is not None and old is not None and len(new):
        found["mismatch/abs"] = float(np.abs(new - old).mean())
    return found


def sound(text: str) -> str:
    """The text without halves of surrogate pairs, which have no UTF-8 encoding."""
    return text.encode("utf-8", "replace").decode("utf-8")


def spans_of(model: str) -> TextSpans:
    """How the tokenizer of a model, or of a run, reads tokens."""
    from menon.assembly.evaluation import folder_of
    from menon.engines import model_folders
    from menon.engines.decoding.stop_strings import text_of
    from menon.engines.tokenizer_files import load_tokenizer

    folder = model_folders.folder_of(folder_of(model))
    return TextSpans(text_of(load_tokenizer(folder, model), skip_special=False))
