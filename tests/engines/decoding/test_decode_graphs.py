"""Recording is tried here without a GPU: a tape of a step's operations on the very tensors that they met,
which is what a CUDA graph is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from helpers import prompt, slots_of, tiny_model, tiny_tokenizer, without_kernels
from menon.engines.decoding import decoder_slots
from menon.engines.decoding.decode_graphs import capture_on
from menon.engines.decoding.decoder_slots import DecoderSlots
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.types import Request, Sampling
from scripted import written_by

V = 40


class Tape(TorchDispatchMode):
    """Writes down operations; what the host would have to wait for cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        by_place = func is torch.ops.aten.index.Tensor and all(
            index is None or index.dtype == torch.int64 for index in args[1]
        )
        if waits and not by_place:
            raise RuntimeError(f"{func} cannot be recorded")
        out = func(*args, **kwargs or {})
        self.written.append((func, args, kwargs or {}, out))
        return out


def recording(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    run()
    with Tape() as tape:
        logits = run()

    def replay() -> Tensor:
        made: dict[int, Tensor] = {}

        def now(value: Any) -> Any:
            return made.get(id(value), value)

        for func, args, kwargs, out in tape.written:
            again = func(*tree_map(now, args), **tree_map(now, kwargs))
            before = out if isinstance(out, list | tuple) else [out]
            made |= {
                id(b): a
                for b, a in zip(before, again if isinstance(again, list | tuple) else [again], strict=True)
            }
        return made[id(logits)]

    return replay


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    without_kernels(monkeypatch)


@pytest.fixture
def recorded(monkeypatch):
    """Every new `DecoderSlots` records."""
    monkeypatch.setattr(decoder_slots, "capture_on", lambda device: recording)


def steps(slots: DecoderSlots, rows: list[int], start: int = 1) -> list[Tensor]:
    """So many rows in each step, their positions ragged; rows that come are filled as those of new sequences
    are."""
    rng, found, before = np.random.default_rng(0), [], 0
    layers, two, _, heads = slots.cache.shape
    for number, n in enumerate(rows):
        position = start + number + 3 * (np.arange(n) % 2)
        for row in range(before, n):
            shape = (layers, two, heads, int(position[row]), slots.decoder.head_dim)
            slots.fill(
                torch.tensor([row], device=slots.device),
                torch.from_numpy(rng.normal(size=shape)).float().to(slots.device),
            )
        found.append(slots.decode(rng.integers(0, V, n), position)[:n].clone())
        before = n
    return found


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("fixed", [False, True])
def test_recorded_steps_are_the_steps(kind, fixed, monkeypatch):
    """Rows come and go, the cache grows over 32 and 64 positions, and new weights come in between."""
    model, rows = tiny_model(kind, vocab=V), [5, 16, 16, 9, 3, 1] * 12
    plain = slots_of(model, fixed=fixed)
    monkeypatch.setattr(decoder_slots, "capture_on", lambda device: recording)
    graphs = slots_of(model, fixed=fixed)
    for start in (1, 20):
        for a, b in zip(steps(graphs, rows, start), steps(plain, rows, start), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
        for slots in (graphs, plain):
            slots.refresh()


@pytest.mark.usefixtures("recorded")
def test_shapes_are_recorded_once_each():
    slots = slots_of(tiny_model(vocab=V))
    slots.reserve(32)
    steps(slots, list(range(1, 17)), start=2)
    assert slots.graphs is not None
    assert sorted(slots.graphs.replays) == [(rows, (32,)) for rows in range(2, 17, 2)]
    first = dict(slots.graphs.replays)
    steps(slots, [16, 3, 4], start=2)
    assert slots.graphs.replays == first
    slots.reserve(33)
    assert not slots.graphs.replays
    steps(slots, [16], start=30)
    assert list(slots.graphs.replays) == [(16, (64,))]


def test_a_sampler_that_records_writes_the_same(monkeypatch):
    model = tiny_model(vocab=V)
    requests = [
        Request(
            prompt(i, np.arange(1 + 5 * i) % (V - 1), vocab=V), Sampling(max_new_tokens=4 + 7 * k), sample=k
        )
        for i in range(4)
        for k in range(3)
    ]

    def written() -> list[dict[Any, Any]]:
        sampler = TorchSampler(model, tiny_tokenizer(V), seed=3, slots=5)
        return [
            {(c.request.prompt.index, c.request.sample): c for c in written_by(sampler, requests)}
            for _ in range(2)
        ]

    plain = written()
    monkeypatch.setattr(decoder_slots, "capture_on", lambda device: recording)
    for got, want in zip(written(), plain, strict=True):
        assert {key: c.tokens.tolist() for key, c in got.items()} == {
            key: c.tokens.tolist() for key, c in want.items()
        }
        for key, c in got.items():
            np.testing.assert_allclose(c.logp, want[key].logp, atol=1e-5)


def test_where_nothing_can_be_recorded_steps_go_on_and_say_so_once(monkeypatch):
    def refuse(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    model = tiny_model(vocab=V)
    want = steps(slots_of(model), [5, 3, 7])
    monkeypatch.setattr(decoder_slots, "capture_on", lambda device: refuse)
    slots = slots_of(model)
    with pytest.warns(
        RuntimeWarning,
        match="decoding continues without CUDA graphs, which is slower: operation not permitted",
    ) as heard:
        got = steps(slots, [5, 3, 7])
    assert len(heard) == 1
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_cpu_records_nothing():
    assert capture_on(torch.device("cpu")) is None
    assert slots_of(tiny_model(vocab=V)).graphs is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_replays_what_it_recorded(monkeypatch):
    model, rows = tiny_model(vocab=V).cuda(), [5, 16, 9, 3, 1] * 8
    graphs = slots_of(model)
    assert graphs.graphs is not None
    got = steps(graphs, rows)
    assert not graphs.graphs.failed
    monkeypatch.setattr(decoder_slots, "capture_on", lambda device: None)
    for a, b in zip(got, steps(slots_of(model), rows), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
