"""A run's answers, and its policies, which score them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from menon.assembly.models import model_name
from menon.batch import Batch
from menon.engines.hf_models import load_policy
from menon.engines.model_folders import folder_of
from menon.engines.tokenizer_files import load_tokenizer
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.record.reader import RunView
from menon.settings import setting


@dataclass(frozen=True)
class Tokens:
    """The tokens that the policy wrote in one step; sequences whose grader failed are left out."""

    batch: Batch
    token: NDArray[np.int64]
    """[n] the trained tokens; so is the next field."""
    entropy: NDArray[np.float64]
    """Their entropies when they were written, at the sampling temperature."""


def tokens_of_run(view: RunView, count: int, first: bool = False) -> tuple[list[Tokens], list[int]]:
    """The tokens of the last (or the first) `count` steps, one entry a step, and the numbers of the steps.
    UserError if there is none."""
    steps = view.transcripts.require()
    steps = steps[:count] if first else steps[-count:]
    return [_tokens(view.transcripts.batch(step)) for step in steps], steps


def _tokens(batch: Batch) -> Tokens:
    if batch.entropy is None:
        raise UserError("the transcripts hold no entropies; study a run that was sampled by menon")
    kept = batch.trained
    return Tokens(batch, batch.token[kept].numpy(), batch.entropy[kept].double().numpy())


class Policies:
    """The model that a run started from and its checkpoints, loaded one at a time."""

    def __init__(self, view: RunView, tokens_per_forward: int) -> None:
        self.view = view
        self.start = model_name(str(setting(view.settings, "model")))
        self.temperature = float(setting(view.settings, "temperature"))
        self.tokens_per_forward = tokens_per_forward

    def named(self) -> list[int]:
        """Steps with a checkpoint. UserError if there is none."""
        steps = self.view.checkpoints
        if not steps:
            raise UserError(
                "there is no checkpoint yet, so nothing to compare with the base; let the run go on"
            )
        return steps

    def entropies(self, which: int | Literal["start"], tokens: Sequence[Tokens]) -> NDArray[np.float64]:
        """Teacher-forced entropies of all tokens in their order, at the run's temperature."""
        name = self.start if which == "start" else str(self.view.layout.checkpoint(which))
        scorer = TorchScorer(
            load_policy(name)[0], temperature=self.temperature, tokens_per_forward=self.tokens_per_forward
        )
        return np.concatenate(
            [scorer.score(t.batch, ["entropy"])["entropy"][t.batch.trained].double().numpy() for t in tokens]
        )

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(folder_of(self.start), self.start)

    def text(self, token: int) -> str:
        return str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))
