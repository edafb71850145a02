"""A stage in which a model writes answers and those that are good enough become rows to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from menon.base import BASES
from menon.config import BUILT_IN_LENGTH, OnlineSource
from menon.engine_settings import Engine
from menon.errors import UserError, at_least
from menon.pipeline.keep import Answer, Keep, kept
from menon.pipeline.stage import REPORT, Here, Stage, is_made
from menon.prompts.tasks import ChainSum, task_name
from menon.record import disk
from menon.rollout.groups import Groups
from menon.settings import Tree

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class Write(Stage):
    """A model answers questions, the reward grades the answers, and those that `keep` chooses become rows for
    sft. The rows are text, so the model may have any tokenizer."""

    model: str = "base"
    """Who writes: a folder, a run, a name on the hub, or stage:NAME."""
    source: OnlineSource = field(default_factory=lambda: OnlineSource(task=ChainSum()))
    """The questions, how they are answered, and what the answers are worth, as in a run. Questions that a run
    would hold out are not asked. What is written to `prompts_per_step` questions is saved together."""
    prompts: int | None = None
    """How many of the questions are asked, drawn at random; null: all of a file, 10,000 of a task."""
    hint: str | None = None
    """Questions without a right answer are asked again with this text in their place, which has {q} and may
    have {answer} or any other column. The row has the question as it was. null: they are not."""
    keep: Keep = field(default_factory=Keep)
    """Which answers become rows."""
    engine: Engine = field(default_factory=Engine)
    """Where and how it computes."""
    makes: ClassVar[str] = ROWS
    shares: ClassVar[tuple[str, ...]] = ("source", "engine")
    owners: ClassVar[tuple[tuple[str, ...], ...]] = (("source",), ("keep",), ("engine",))

    def __post_init__(self) -> None:
        if self.prompts is not None:
            at_least(1, "prompts", self.prompts)
        if self.hint is not None and "{q}" not in self.hint:
            raise UserError("hint has no {q}, where the question goes; put it in")
        for name, usual in (
            ("environment", None),
            ("rollout", Groups()),
            ("order", "shuffled"),
            ("staleness", 0),
        ):
            if getattr(self.source, name) != usual:
                raise UserError(
                    f"a stage that writes answers each question once and in one turn; leave {name} out"
                )

    def planned(self, shared: Sequence[Tree], own: Sequence[Tree], base: str, seed: int) -> "Write":
        """Answers of another model than a built-in one may be as long as its context allows."""
        named = [str(tree["model"]) for tree in own if "model" in tree]
        writer, source = (named or [self.model])[-1], self.source
        if (base if is_made(writer) else writer) not in BASES and source.max_new_tokens == BUILT_IN_LENGTH:
            source = replace(source, max_new_tokens=None)
        return replace(self, source=source).changed(*map(self.part_of, shared), *own)

    def run(self, here: Here) -> None:
        """Writes answers.jsonl with every answer, rows.jsonl with those that are kept, and report.json.
        UserError if no answer is kept."""
        from menon.pipeline.writing import written

        answers = written(self, here)
        rows, left_out = kept(answers, self.keep)
        report = self.report(answers, rows, left_out)
        here.tell(report["summary"])
        if not rows:
            raise UserError(self.nothing(report))
        source = name_within(self.model, here.folder.parent)
        disk.write(here.folder / ROWS, b"".join(disk.json_line(row_of(answer, source)) for answer in rows))
        disk.write_json(here.folder / REPORT, report)

    def report(
        self, answers: Sequence[Answer], rows: Sequence[Answer], left_out: dict[str, int]
    ) -> dict[str, Any]:
        """The counts, and a sentence with the main ones."""
        plain = [answer for answer in answers if not answer["hinted"]]
        known = [answer["right"] for answer in plain if answer["right"] is not None]
        questions = {answer["question"] for answer in answers}
        counts = {
            "questions": len(questions),
            "asked_again": len({answer["question"] for answer in answers if answer["hinted"]}),
            "written": len(answers),
            "tokens": sum(answer["tokens"] for answer in answers),
            "accuracy": sum(known) / len(known) if known else None,
            "kept": len(rows),
            "kept_hinted": sum(answer["hinted"] for answer in rows),
            "left_out": left_out,
            "without": len(questions) - len({answer["question"] for answer in rows}),
        }
        share = f", {sum(known) / len(known):.3f} of them right" if known else ""
        hints = f" ({counts['kept_hinted']:,} written with a hint)" if counts["asked_again"] else ""
        why = ", ".join(f"{count:,} {name}" for name, count in left_out.items() if count)
        summary = (
            f"{len(plain):,} answers to {counts['questions']:,} questions{share}; {len(rows):,} kept{hints}, "
            f"left out: {why or 'none'}; {counts['without']:,} questions without an answer that is kept"
        )
        return {**counts, "summary": summary}

    def nothing(self, report: dict[str, Any]) -> str:
        """Why there is nothing to learn from, and what to change."""
        out = report["left_out"]
        if out["wrong"] == report["written"] and report["accuracy"] is None and self.keep.min_reward is None:
            return (
                "the reward does not say which answers are right, so none is kept; set keep.min_reward to "
                "the least reward of an answer to learn from"
            )
        good = "right" if self.keep.min_reward is None else f"worth at least {self.keep.min_reward:g}"
        most = max(out, key=lambda name: out[name])
        cause = f"is {good}" if most == "wrong" else f"can be kept (most are {most})"
        return (
            f"none of the {report['written']:,} answers to {report['questions']:,} questions {cause}, so "
            "there is nothing to learn from; take a better model to write, more samples_per_prompt, easier "
            "questions, or a hint"
        )

    def words(self) -> str:
        source = self.source
        asked = source.data or task_name(source.task)
        number = "all" if self.prompts is None else f"{self.prompts:,}"
        again = ", again with a hint where none is right" if self.hint is not None else ""
        most = "" if self.keep.most is None else f", at most {self.keep.most} to a question"
        good = (
            "right ones" if self.keep.min_reward is None else f"those worth at least {self.keep.min_reward:g}"
        )
        writer = self.model or "a model that is still to be named"
        return (
            f"{writer} writes {source.samples_per_prompt} answers to {number} questions of {asked}"
            f"{again}; {good} are kept{most}"
        )


def row_of(answer: Answer, source: str) -> dict[str, Any]:
    """A row to learn from: the question as it is in the data, the answer as it was written."""
    return {
        "question": answer["asked"],
        "answer": answer["text"],
        "gold": answer["answer"],
        "source": source,
        **{name: answer[name] for name in ("reward", "tokens", "hinted")},
    }


def name_within(model: str, folder: Path) -> str:
    """The name of a model, within the folder of the pipeline if it lies there."""
    path = Path(model)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else model
