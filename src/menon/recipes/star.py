"""STaR (arXiv 2203.14465): a model learns from its own right answers, round by round."""

from collections.abc import Mapping
from dataclasses import dataclass

from menon.config import OnlineSource
from menon.errors import at_least
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.pipeline.write import Write
from menon.prompts.tasks import ChainSum


@dataclass(frozen=True)
class Star(Pipeline):
    """In every round the newest model answers the questions. Those without a right answer are asked again
    with the answer as a hint, which the rows do not have. The model of the start, never that of the round
    before, is then fine-tuned on all right answers.
    """

    rounds: int = 3
    """How often the questions are answered and learned from."""
    hint: str | None = "{q}{answer}\n{q}"
    """What is asked in place of a question without a right answer; null: nothing."""

    def stages(self) -> Mapping[str, Stage]:
        at_least(1, "rounds", self.rounds)
        asked, writer = OnlineSource(task=ChainSum(), samples_per_prompt=1), self.model
        found: dict[str, Stage] = {}
        for n in range(1, self.rounds + 1):
            found[f"write_{n}"] = Write(writer, asked, prompts=1024, hint=self.hint)
            rows = made_by(f"write_{n}")
            found[f"sft_{n}"] = Train("sft", {"data": rows, "task": ChainSum(), "steps": 40})
            writer = made_by(f"sft_{n}")
        return found
