"""The model that is served."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from menon.assembly.evaluation import folder_of
from menon.assembly.models import device_of
from menon.assembly.tokenizer_voice import UNBOUNDED, TokenizerVoice
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.serve.writer import ALTERNATIVES, Writer


@dataclass(frozen=True)
class Served:
    """A model, ready to write."""

    names: tuple[str, ...]
    """Under which it is asked for; answers carry the first."""
    writer: Writer
    tokenizer: Any

    @staticmethod
    def load(model: str, names: Sequence[str] = (), device: str = "auto", slots: int = 64) -> "Served":
        """Of a model folder, a run (its newest checkpoint), or a built-in model. UserError: there is none."""
        loaded, tokenizer = load_policy(folder_of(model), device=device_of(device))
        sampler = TorchSampler(loaded, tokenizer, slots=slots, alternatives=ALTERNATIVES)
        own = Path(model).expanduser().resolve().name if "/" in model or Path(model).exists() else model
        return Served(tuple(names) or (own,), Writer(sampler), tokenizer)

    @cached_property
    def voice(self) -> TokenizerVoice:
        sampler = self.writer.sampler
        context = UNBOUNDED if sampler.context is None else int(sampler.context)
        return TokenizerVoice(
            self.names, self.tokenizer, sampler.detokenizer.text, sampler.vocabulary, context
        )
