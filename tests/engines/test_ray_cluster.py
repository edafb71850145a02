"""Ray places processes; what they say comes as from those of this machine."""

import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from menon.engines import ray_cluster
from menon.engines.ray_cluster import RayCluster
from menon.errors import UserError
from menon.processes.worker import Ended, Spawn, Worker

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="placement=ray needs the extra menon[ray]")


def test_what_cannot_be_joined_is_named_with_what_to_do(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(UserError, match=rf"^no Ray cluster answers at {free} .*menon cluster up"):
        ray_cluster.check(free, "")
    monkeypatch.setenv("RAY_ADDRESS", free)
    with pytest.raises(UserError, match=rf"^no Ray cluster answers at {free}"):
        ray_cluster.check("", "")
    monkeypatch.setattr(ray_cluster, "HEALTH_LIMIT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"^no Ray cluster answers at {address} \(nothing was said within"
        ):
            ray_cluster.check(address, "")


def test_what_is_no_address_and_what_is_no_interface_is_named_at_once(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in ("nonsense", "host:port", ":6379"):
        with pytest.raises(UserError, match=rf"is '{address}'; set placement\.address=HOST:PORT"):
            ray_cluster.check(address, "")
    with pytest.raises(
        UserError, match=r"cannot listen on the interface 192\.0\.2\.1 .*placement\.interface"
    ):
        ray_cluster.check("", "192.0.2.1")
    ray_cluster.check("", "127.0.0.1")


def test_processes_on_bundles_answer_end_and_are_started_again(monkeypatch):
    monkeypatch.setattr(ray_cluster, "READY_LIMIT", 2.0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # of worker_handlers
    cluster = RayCluster("test", [{"CPU": 1}] * 2)
    try:
        workers = [Worker(cluster.launch(place, Spawn("worker_handlers:Acts"))) for place in range(2)]
        pids = [worker.ask(["pid"], 120).data for worker in workers]
        assert pids == [worker.pid for worker in workers]
        with pytest.raises(Ended, match="exit code 3"):
            workers[0].ask(["exit", 3], 60)
        cluster.ray.kill(cluster.agents[1])  # its host is lost
        workers[1].close()
        assert [worker.ask(["echo", 4], 120).data for worker in workers] == [4, 4]
        for worker in workers:
            worker.close()
        with pytest.raises(UserError, match=r"no room for this run, which asks for 9,?000 CPU"):
            cluster._reserve([{"CPU": 9000.0}], "PACK")
    finally:
        cluster.close()
