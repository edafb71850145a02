"""The answers of a stage that writes: asked for in parts, each of which is saved as it is done."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from menon.assembly.answer_length import least_room, length_for
from menon.assembly.build import around_here, close_grade, grade_of, reward_of
from menon.assembly.evaluation import folder_of
from menon.assembly.hints import hinted
from menon.assembly.models import WEIGHTS_DTYPE, device_of
from menon.assembly.questions import prompts_to_train, questions, rendered
from menon.assembly.reward_models import with_models
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.hf_models import load_policy
from menon.engines.limits import rows_of
from menon.engines.machine import workers
from menon.errors import UserError
from menon.eval.run import key_of
from menon.limit import Limit
from menon.loop import check_graders
from menon.pipeline.keep import Answer
from menon.pipeline.stage import Here
from menon.record import disk
from menon.rollout.groups import answer
from menon.rollout.protocols import Grade
from menon.streams import stream
from menon.truth import settled_verdicts
from menon.types import Graded, Prompt, Request, Sampling, Verdict

if TYPE_CHECKING:
    from menon.pipeline.write import Write

ANSWERS = "answers.jsonl"
"""Every answer that was written, one line each."""


def written(stage: "Write", here: Here) -> list[Answer]:
    """All answers of the stage, to the questions as they are and then with the hint. Those that an earlier
    start has saved are not written again; the result is the same."""
    file = here.folder / ANSWERS
    with writer_of(stage, here) as writer:
        plain = write(writer, writer.prompts, False, file, 0, here)
        lines = settled(plain)
        if stage.hint is not None:
            solved = {line["question"] for line in lines if line["right"]}
            rest = [prompt for prompt in writer.prompts if prompt.index not in solved]
            again = writer.with_hint(rest, stage.hint) if rest else []
            lines = settled([*plain, *write(writer, again, True, file, len(plain), here)])
        asked = {
            prompt.index: {"asked": prompt.columns["question"], "answer": prompt.answer}
            for prompt in writer.prompts
        }
    return [{**line, **asked[line["question"]]} for line in lines]


@dataclass(frozen=True)
class Writer:
    """What writes and grades."""

    stage: "Write"
    sampler: TorchSampler
    prompts: Sequence[Prompt]
    sampling: Sampling
    grade: Grade
    context: Limit | None
    here: Here

    def with_hint(self, prompts: Sequence[Prompt], hint: str) -> list[Prompt]:
        """The prompts as they are asked with the hint, in the same order and with the same numbers."""
        source = self.stage.source
        found = rendered(
            [hinted(prompt, hint, setting="hint") for prompt in prompts],
            source.template,
            self.context,
            self.sampler.tokenizer,
            least_room(source.max_new_tokens),
            "stop",
            self.here.tell,
            source.template_arguments,
        )
        return [replace(new, index=old.index) for new, old in zip(found, prompts, strict=True)]


@contextmanager
def writer_of(stage: "Write", here: Here) -> Iterator[Writer]:
    source, engine = stage.source, stage.engine
    device = device_of(engine.device)
    around = around_here(source, here.seed, engine.device, here.tell)
    around = with_models(around, lambda: device, {}, source.template)
    with ExitStack() as undo:
        grade = grade_of(source, reward_of(source, around))
        undo.callback(close_grade, grade)
        rows, _ = questions(source, here.seed, here.tell)
        model, tokenizer = load_policy(folder_of(stage.model), WEIGHTS_DTYPE[engine.dtype], device)
        if engine.dtype == "bfloat16":
            model = own_copy(model, torch.bfloat16)
        context = rows_of(model)
        some = some_of(rows, stage.prompts, here.seed)
        prompts = prompts_to_train(some, source, context, tokenizer, grade, here.tell)
        length = length_for(source.max_new_tokens, context, prompts)
        sampler = TorchSampler(
            model,
            tokenizer,
            seed=here.seed,
            slots=engine.slots,
            fixed_slots=engine.fixed_slots,
            processes=workers(model.num_parameters(), model.device),
            keep_special_tokens=source.keep_special_tokens,
        )
        undo.enter_context(closing(sampler))
        sampling = replace(around.sampling, max_new_tokens=length)
        yield Writer(stage, sampler, prompts, sampling, grade, context, here)


def some_of(rows: Sequence[Any], most: int | None, seed: int) -> list[Any]:
    """At most so many of the rows, drawn at random, in their order."""
    if most is None or most >= len(rows):
        return list(rows)
    chosen = stream(seed, "questions", len(rows)).permutation(len(rows))[:most]
    return [rows[place] for place in sorted(chosen.tolist())]


def write(
    writer: Writer, prompts: Sequence[Prompt], with_hint: bool, file: Path, before: int, here: Here
) -> list[dict[str, Any]]:
    """The stored lines of the answers to these prompts, which follow the first `before` lines of the file.
    What is missing is written, in parts of `prompts_per_step` prompts, whose limits do not depend on what is
    there already."""
    samples, size = writer.stage.source.samples_per_prompt, writer.stage.source.prompts_per_step
    lines = disk.read_lines(file)
    own = lines[before : before + samples * len(prompts)]
    done = len(own) if len(own) == samples * len(prompts) else len(own) // (samples * size) * samples * size
    own = own[:done]
    check_same(own, prompts, samples, file)
    whole = b"".join(map(disk.json_line, lines[: before + done]))
    if file.exists() and file.stat().st_size != len(whole):  # a part was cut off, perhaps within a line
        disk.write(file, whole)
    for start in range(done // samples, len(prompts), size):
        part = prompts[start : start + size]
        requests = [
            Request(prompt, writer.sampling, sample, purpose="write_hinted" if with_hint else "write")
            for prompt in part
            for sample in range(samples)
        ]
        groups = [place // samples for place in range(len(requests))]
        graded = answer(requests, groups, writer.sampler, writer.grade)
        check_graders(graded, "this stage", "go on with it")
        new = [line_of(one, with_hint) for one in graded]
        disk.append(file, b"".join(map(disk.json_line, new)))
        own += new
        right = [line["acc"] for line in own if line["acc"] is not None]
        share = f", {sum(right) / len(right):.3f} right" if right else ""
        here.tell(f"{len(own):,} of {samples * len(prompts):,} answers written{share}")
    return own


def line_of(graded: Graded, with_hint: bool) -> dict[str, Any]:
    """An answer as it is stored."""
    rollout, verdict = graded.rollout, graded.verdict
    return {
        "question": rollout.prompt.index,
        "key": key_of(rollout.prompt),
        "sample": rollout.sample,
        "hinted": with_hint,
        "text": rollout.text,
        "reward": None if math.isnan(verdict.score) else float(verdict.score),
        "acc": None if math.isnan(verdict.acc) else float(verdict.acc),
        "guessed": verdict.guessed,
        "applies": verdict.applies,
        "tokens": rollout.num_actions,
        "finish": rollout.finish,
    }


def settled(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines with `right`: whether the answer is, or None where the reward does not say."""

    def known(value: float | None) -> float:
        return math.nan if value is None else value

    verdicts = settled_verdicts(
        [
            Verdict(
                known(line["reward"]), known(line["acc"]), guessed=line["guessed"], applies=line["applies"]
            )
            for line in lines
        ]
    )
    return [
        {**line, "right": None if math.isnan(verdict.acc) else verdict.acc == 1}
        for line, verdict in zip(lines, verdicts, strict=True)
    ]


def check_same(lines: Sequence[dict[str, Any]], prompts: Sequence[Prompt], samples: int, file: Path) -> None:
    """UserError if stored answers are not answers to these prompts."""
    for place, line in enumerate(lines):
        if line["key"] != key_of(prompts[place // samples]):
            raise UserError(
                f"the questions are not those that {file} answers: the data has changed since; put it back, "
                f"or begin anew with another out="
            )
