"""A tiny policy and the fake engine (`fake_engine`) that samples it, with the channel between them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.assembly.check_sync import SyncCheck, requests_of
from menon.engines.broadcast import Broadcast
from menon.engines.carriers import ByBroadcast, ByFile, ByReload
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_sampler import EngineSampler
from menon.engines.in_process import InProcessHost
from menon.engines.other_python import SpawnElsewhere
from menon.engines.request_checks import check_request
from menon.engines.torch_learner import TorchLearner
from menon.limit import Limit
from menon.sync.to_engine import ToEngine
from menon.types import Prompt, Sampling
from menon.update.optimiser import Optimiser

V = 40
CONTEXT = Limit(128, "context")
SUPPORT = Path(__file__).parent


@dataclass
class Ends:
    host: InProcessHost
    sampler: EngineSampler
    channels: dict[str, ToEngine]
    """By the way of the weights."""

    def fresh(self, learning_rate: float = 0.01, temperature: float = 1.0) -> None:
        """The policy as at the start, in every channel."""
        learner = TorchLearner(tiny_model(vocab=V), Optimiser(learning_rate), temperature=temperature)
        self.host = InProcessHost({"policy": learner})
        for channel in self.channels.values():
            channel.policy = self.host
            channel.held = {}

    def check(self, way: str = "changed", temperature: float = 1.0) -> list[str]:
        """The lines of `menon check sync` on these ends."""
        lines: list[str] = []
        requests = requests_of(prompts(), Sampling(12, temperature), CONTEXT)
        SyncCheck(self.host, self.channels[way], self.sampler, requests, 1e-4, lines.append)()
        return lines


def prompts() -> list[Prompt]:
    return [prompt(i, [1, 2, 3 + i, *[4] * (i % 3)], vocab=V) for i in range(4)]


def save(folder: Path) -> None:
    tiny_model(vocab=V).config.save_pretrained(folder)
    tiny_tokenizer(V).save_pretrained(folder)


@contextmanager
def engine_of(entry: str, *arguments: Any) -> Iterator[EngineSampler]:
    """A sampler on the engine of an entry, in a process of its own; it may not be ready."""
    launch = SpawnElsewhere(
        sys.executable,
        entry,
        *arguments,
        environment={"OMP_NUM_THREADS": "1"},
        paths=[str(SUPPORT), str(SUPPORT.parent)],
    )
    sampler = EngineSampler(
        "the engine",
        launch,
        Detokenizer.of(tiny_tokenizer(V), [V - 1]),
        lambda request: check_request(request, V, CONTEXT),
        seed=0,
    )
    try:
        yield sampler
    finally:
        sampler.close()


@contextmanager
def fake_ends(folder: Path) -> Iterator[Ends]:
    save(folder)
    with engine_of("fake_engine:handler", str(folder), [V - 1], False, {}) as sampler:
        sampler.ready(120)
        carriers = {
            "changed": ByFile(sampler.begun, folder),
            "file": ByReload(sampler.call, folder),
            "broadcast": ByBroadcast(sampler, Broadcast(1)),
        }
        host = InProcessHost({"policy": TorchLearner(tiny_model(vocab=V), Optimiser(0.01))})
        channels = {
            way: ToEngine(host, sampler, carrier, only_changed=way != "file")
            for way, carrier in carriers.items()
        }
        yield Ends(host, sampler, channels)
