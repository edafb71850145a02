"""Weights that are broadcast reach who knows the meeting's token, over the loopback interface alone."""

import threading

import psutil
import pytest
import torch

from menon.engines import broadcast
from menon.engines.broadcast import Broadcast, join


def listening() -> set[tuple[str, int]]:
    """Where this process listens."""
    return {
        (one.laddr.ip, one.laddr.port) for one in psutil.Process().net_connections() if one.status == "LISTEN"
    }


def received(trainer: Broadcast, number: float) -> torch.Tensor:
    """What a worker gets when the trainer broadcasts a number."""
    found = torch.zeros(())

    def work() -> None:
        group = join(1, **trainer.meeting)
        group.broadcast(found, 0).wait()

    worker = threading.Thread(target=work)
    worker.start()
    trainer.meet()
    trainer.send(iter([torch.tensor(number)]))
    worker.join()
    return found


def test_both_ends_listen_on_the_loopback_interface_alone(monkeypatch):
    others = [name for name in psutil.net_if_addrs() if not name.startswith("lo")]
    if others:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", others[0])
    before = listening()
    trainer = Broadcast(1)
    assert received(trainer, 3.0) == 3
    opened = listening() - before
    assert len(opened) >= 2, "the store and the exchange"
    assert {address for address, _ in opened} == {"127.0.0.1"}


def test_a_stranger_who_does_not_know_the_token_meets_nobody():
    trainer = Broadcast(1, seconds=1)
    guessed = trainer.meeting | {"token": "menon-weights"}
    refused = []

    def stranger() -> None:
        with pytest.raises(RuntimeError) as error:
            join(1, **guessed)
        refused.append(error)

    worker = threading.Thread(target=stranger)
    worker.start()
    with pytest.raises(RuntimeError):
        trainer.meet()
    worker.join()
    assert refused
    assert len(trainer.meeting["token"]) == 32
    assert trainer.meeting["token"] != Broadcast(1).meeting["token"]


def test_nccl_is_told_the_loopback_interface(monkeypatch):
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "eth9")

    class Nccl:
        class Options:
            pass

        def __init__(self, store, rank, size, options):
            self.interface = broadcast.os.environ["NCCL_SOCKET_IFNAME"]

    monkeypatch.setattr(torch.distributed, "ProcessGroupNCCL", Nccl, raising=False)
    trainer = Broadcast(1, "nccl")
    trainer.meet()
    assert trainer.group.interface.startswith("lo")
