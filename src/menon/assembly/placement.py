"""Where the models of a run are placed, which weights the sampler uses, and how new weights reach it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.models import host_of, saved_dtypes, start_of, with_teacher
from menon.assembly.ranks import host_on_ranks
from menon.assembly.samplers import channel_of, sampler_of
from menon.assembly.site import Site
from menon.config import Control, Models, Objective, RunConfig
from menon.engine_settings import Engine
from menon.engines import lora
from menon.engines.hf_models import end_token_ids
from menon.engines.in_process import InProcessHost
from menon.engines.limits import rows_of
from menon.engines.ranked_host import RankedHost
from menon.engines.remote_sampler import RemoteSampler
from menon.engines.taking_turns import TakesTurns
from menon.limit import Limit
from menon.record.layout import Layout
from menon.rollout.protocols import Sampler
from menon.sync.no_sampler import NoSampler
from menon.sync.protocols import WeightChannel
from menon.update.host import ModelHost


class Closes(AbstractContextManager):
    """Leaving its `with` ends the processes that were started for it."""

    undo: ExitStack

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo.__exit__(kind, error, trace)


@dataclass(frozen=True)
class Placed(Closes):
    """The models of a run, its sampler, and the channel between them."""

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
    """The number of the policy's parameters, without an adapter's."""
    device: str
    """Where it computes."""
    decode: Callable[[list[int]], str]
    """Tokens of an answer, or of a turn of it -> the text that rewards and environments read."""
    undo: ExitStack


@dataclass(frozen=True)
class Unwritten(Closes):
    """The models of a run that writes no text."""

    host: ModelHost
    channel: WeightChannel
    tokenizer: PreTrainedTokenizerBase
    context: Limit | None
    origin: Mapping[str, Any]
    ends: tuple[int, ...]
    parameters: int
    device: str
    undo: ExitStack


def place(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Placed:
    """Places the models of a run and its sampler. All models but a teacher start from the policy's
    weights."""
    model, tokenizer, origin = start_of(config.models, config.engine, config.control.seed)
    with ExitStack() as undo:
        workers = Layout(Path(config.control.out)).workers
        site = undo.enter_context(Site(config.engine, config.engine.num_samplers, workers))
        # The sampler first: it may move the weights into shared memory.
        sampler = sampler_of(config.source, config.engine, config.control, model, tokenizer, notify, site)
        undo.callback(sampler.close)
        host = host_for(
            config.models,
            config.objective,
            config.engine,
            config.source.temperature,
            config.control,
            tuple(config.own_code),
            model,
            tokenizer,
            notify,
            site,
        )
        undo.callback(end, host)
        turns: InProcessHost | RankedHost | TakesTurns = host
        if config.engine.colocated:
            turns = taking_turns(host, sampler)
        return Placed(
            turns,
            sampler,
            channel_of(config.source, config.engine, turns, model, tokenizer, sampler),
            tokenizer,
            rows_of(model),
            with_teacher(origin, host),
            end_token_ids(model, tokenizer),
            lora.num_parameters(model),
            device_in_words(model, config.engine),
            sampler.detokenizer.text,
            undo.pop_all(),
        )


def place_without_sampler(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    control: Control,
    own_code: Sequence[str] = (),
    notify: Callable[[str], None] = lambda sentence: None,
) -> Unwritten:
    """The same for a run that writes no text."""
    model, tokenizer, origin = start_of(models, engine, control.seed)
    with ExitStack() as undo:
        site = undo.enter_context(Site(engine, 0, Layout(Path(control.out)).workers))
        host = host_for(
            models, objective, engine, temperature, control, own_code, model, tokenizer, notify, site
        )
        undo.callback(end, host)
        return Unwritten(
            host,
            NoSampler(host),
            tokenizer,
            rows_of(model),
            with_teacher(origin, host),
            end_token_ids(model, tokenizer),
            lora.num_parameters(model),
            device_in_words(model, engine),
            undo.pop_all(),
        )


def taking_turns(host: InProcessHost | RankedHost, sampler: Sampler) -> TakesTurns:
    """The host of a colocated run."""
    assert isinstance(host, InProcessHost)  # `Engine` has checked both
    assert isinstance(sampler, RemoteSampler)
    return TakesTurns(host, sampler)


def host_for(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    control: Control,
    own_code: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
    site: Site,
) -> InProcessHost | RankedHost:
    """The host of a run's models: in this process around `model`, or on ranks, which read the model
    themselves."""
    saved_as = saved_dtypes(control.save_dtype, models.policy.model, model, engine.dtype, notify)
    if engine.ranks > 1:
        return host_on_ranks(models, objective, engine, temperature, control, own_code, notify, site)
    return host_of(models, objective, engine, temperature, control.seed, model, tokenizer, saved_as)


def end(host: InProcessHost | RankedHost) -> None:
    if isinstance(host, RankedHost):
        host.close()


def device_in_words(model: PreTrainedModel, engine: Engine) -> str:
    return str(model.device) if engine.ranks == 1 else f"{engine.ranks} ranks on {model.device.type}"
