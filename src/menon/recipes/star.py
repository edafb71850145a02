"""STaR (arXiv 2203.14465): a model learns from its own right answers, round by round."""

from collections.abc import Mapping
from dataclasses import dataclass

from menon.config import OnlineSource
from menon.errors import at_least
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.pipeline.write import Write
from menon.prompts.tasks import ChainSum

HINTS = {"base": "{q}\nSteps:", "search_base": "Steps: {q}"}
ANSWER = "{q}\n\n(The answer is {answer}.)"


@dataclass(frozen=True)
class Star(Pipeline):
    """In every round the newest model answers the questions. Those without a right answer are asked again
    with a hint, which the rows do not have. The model of the start, never that of the round before, is then
    fine-tuned on all right answers."""

    rounds: int = 3
    """How often the questions are answered and learned from."""
    hint: str | None = ""
    """The question with a hint: a text with {q}, {answer} or other columns; null: none. Empty: with its
    answer, or for a built-in model, which cannot use that, with a request for steps."""

    def stages(self) -> Mapping[str, Stage]:
        at_least(1, "rounds", self.rounds)
        hint = HINTS.get(self.model, ANSWER) if self.hint == "" else self.hint
        asked, writer = OnlineSource(task=ChainSum(), samples_per_prompt=1), self.model
        found: dict[str, Stage] = {}
        for n in range(1, self.rounds + 1):
            found[f"write_{n}"] = Write(writer, asked, prompts=1024, hint=hint)
            rows = made_by(f"write_{n}")
            found[f"sft_{n}"] = Train("sft", {"data": rows, "task": ChainSum(), "steps": 40})
            writer = made_by(f"sft_{n}")
        return found
