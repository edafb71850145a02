"""Where the models of a run are placed, which weights the sampler uses, and how new weights reach it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from transformers import PreTrainedTokenizerBase

from menon.assembly.engine_samplers import check_before
from menon.assembly.models import host_of, saved_dtypes, start_of, with_teacher
from menon.assembly.samplers import channel_of, sampler_of
from menon.config import Control, Models, Objective, RunConfig
from menon.engine_settings import Engine
from menon.engines.hf_models import end_token_ids
from menon.engines.limits import rows_of
from menon.limit import Limit
from menon.rollout.protocols import Sampler
from menon.sync.no_sampler import NoSampler
from menon.sync.protocols import WeightChannel
from menon.update.host import ModelHost


@dataclass(frozen=True)
class Placed(AbstractContextManager):
    """The models of a run, its sampler, and the channel between them. Leaving its `with` ends the processes
    that were started for it."""

    host: ModelHost
    sampler: Sampler
    channel: WeightChannel
    tokenizer: PreTrainedTokenizerBase
    context: Limit | None
    """Most tokens of a sequence that the sampler can write; None if its configuration does not say."""
    origin: Mapping[str, Any]
    """Fingerprints of the policy's model as it was read."""
    ends: tuple[int, ...]
    """The tokens that end a text, the tokenizer's own first."""
    parameters: int
    """The number of the policy's parameters."""
    device: str
    """Where it computes."""
    decode: Callable[[list[int]], str]
    """Tokens of an answer, or of a turn of it -> the text that rewards and environments read."""
    close: Callable[[], None]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Unwritten:
    """The models of a run that writes no text."""

    host: ModelHost
    channel: WeightChannel
    tokenizer: PreTrainedTokenizerBase
    context: Limit | None
    origin: Mapping[str, Any]
    ends: tuple[int, ...]
    parameters: int
    device: str


def place(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Placed:
    """Places all models in this process and on one device; all but a teacher start from the policy's
    weights. UserError, before anything is read, for a sampler that cannot be used."""
    check_before(config.source, config.engine)
    model, tokenizer, origin = start_of(config.models, config.engine)
    saved_as = saved_dtypes(
        config.control.save_dtype, config.models.policy.model, model, config.engine.dtype, notify
    )
    # The sampler first: it may move the weights into shared memory.
    sampler = sampler_of(config.source, config.engine, config.control, model, tokenizer, notify)
    temperature, seed = config.source.temperature, config.control.seed
    host = host_of(
        config.models, config.objective, config.engine, temperature, seed, model, tokenizer, saved_as
    )
    policy = host.models["policy"]
    return Placed(
        host,
        sampler,
        channel_of(config.source, config.engine, host, model, tokenizer, sampler),
        tokenizer,
        rows_of(model),
        with_teacher(origin, host),
        end_token_ids(model, tokenizer),
        sum(weight.numel() for weight in policy.weights().values()),
        str(model.device),
        sampler.detokenizer.text,
        sampler.close,
    )


def place_without_sampler(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    control: Control,
    notify: Callable[[str], None] = lambda sentence: None,
) -> Unwritten:
    """The same for a run that writes no text."""
    model, tokenizer, origin = start_of(models, engine)
    saved_as = saved_dtypes(control.save_dtype, models.policy.model, model, engine.dtype, notify)
    host = host_of(models, objective, engine, temperature, control.seed, model, tokenizer, saved_as)
    return Unwritten(
        host,
        NoSampler(host),
        tokenizer,
        rows_of(model),
        with_teacher(origin, host),
        end_token_ids(model, tokenizer),
        sum(weight.numel() for weight in host.models["policy"].weights().values()),
        str(model.device),
    )
