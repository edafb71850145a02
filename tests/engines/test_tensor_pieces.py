"""Tensors in pieces: whole again bit for bit, in whatever order, and never far ahead of who uses them."""

import random
import socket
import threading

import torch

from menon.engines import tensor_pieces
from menon.engines.tensor_pieces import MORE, Pieces, send_tensors
from menon.processes.wire import Connection


def tensors() -> dict[str, torch.Tensor]:
    numbers = torch.randn(4001, generator=torch.Generator().manual_seed(0))
    return {
        "matrix": numbers[:4000].view(40, 100),
        "half": numbers[:90].view(9, 10).to(torch.bfloat16),
        "small": numbers[:7],
        "nothing": torch.zeros(0, 5),
        "one": torch.tensor(3.5),
        "again": -numbers[:4000].view(40, 100),
    }


def pieces_of_ranks(ranks: int, size: int) -> list[tuple[int, list[object], bytes]]:
    """Rows of each tensor that each rank holds, in pieces of `size` bytes."""
    found = []
    for name, tensor in tensors().items():
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        row = tensor[:1].nbytes if tensor.dim() else tensor.nbytes
        rows = -(-len(tensor) // ranks) if tensor.dim() else 1
        kind = str(tensor.dtype).removeprefix("torch.")
        for rank in range(ranks):
            first, last = rank * rows * row, min((rank + 1) * rows * row, len(data))
            for begin in range(first, max(last, first + 1) if not rank else last, size):
                head = ["tensor", name, kind, list(tensor.shape), begin, False]
                found.append((rank, head, data[begin : min(begin + size, last)]))
    return found


def test_in_any_order():
    """Each rank's pieces keep their order; ranks are mixed."""
    for seed in range(20):
        draw, found = random.Random(seed), {}
        queues = [[piece for piece in pieces_of_ranks(3, 64) if piece[0] == rank] for rank in range(3)]
        pieces = Pieces()
        while any(queues):
            rank, head, body = draw.choice([queue for queue in queues if queue]).pop(0)
            if (whole := pieces.add(rank, head, body)) is not None:
                found[whole[0]] = whole[1].clone()
        assert found.keys() == tensors().keys()
        for name, tensor in tensors().items():
            assert found[name].dtype == tensor.dtype
            assert found[name].shape == tensor.shape
            assert torch.equal(found[name], tensor)


def test_memory_is_used_again():
    pieces, places = Pieces(), []
    for rank, head, body in pieces_of_ranks(1, 2**20):
        if (whole := pieces.add(rank, head, body)) is not None and whole[1].numel():
            places.append(whole[1].data_ptr())
    assert len(set(places)) <= 3


def test_a_rank_waits_until_its_last_tensor_is_whole(monkeypatch):
    """Of the first rank, which sends what all have whole. The others send nothing of it."""
    monkeypatch.setattr(tensor_pieces, "PIECE", 64)
    monkeypatch.setattr(tensor_pieces, "AHEAD", 10_000)
    ours, theirs = (Connection(end) for end in socket.socketpair())
    send_tensors(theirs, tensors().items(), rank=1)
    assert not ours.waiting()
    sender = threading.Thread(target=send_tensors, args=(theirs, tensors().items(), 0), daemon=True)
    sender.start()
    pieces, found, waited = Pieces(), {}, []
    while len(found) < len(tensors()):
        message = ours.receive(end=None)
        if (whole := pieces.add(0, message.data, message.body)) is None:
            continue
        found[whole[0]] = whole[1].clone()
        for rank in pieces.waiting.pop(whole[0], []):
            assert (rank, ours.waiting()) == (0, False)
            waited.append(whole[0])
            ours.send([MORE])
    sender.join(10)
    assert waited == ["matrix", "again"]
    assert not pieces.begun
    for name, tensor in tensors().items():
        assert torch.equal(found[name], tensor)
