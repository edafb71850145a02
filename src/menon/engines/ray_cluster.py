"""Processes placed by Ray: one placement group for a run, and on each of its bundles a named actor that
starts processes there (`processes.elsewhere.HostAgent`).

Ray decides where a process runs and starts it; what a process says goes over a connection of our own, so that
deadlines, last words and replacement are the same on every host.
"""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from menon.errors import UserError, first_line, pip_install
from menon.processes.elsewhere import Elsewhere, HostAgent, listening
from menon.processes.worker import Launch, Spawn

NAMESPACE = "menon"
READY_LIMIT = 60.0
"""Seconds that Ray may take to reserve what a run asks for."""
REACH_LIMIT = 10.0
"""Seconds that a cluster may take to accept a connection."""
HEALTH_LIMIT = 30.0
"""Seconds in which a cluster must say that it is well."""
CALL_LIMIT = 120.0
"""Seconds that an agent may take to start a process."""
END_LIMIT = 10.0
"""Seconds to wait for an agent's word on how a process ended."""
OBJECTS = 2**27
"""Bytes of Ray's object store where a run starts Ray itself. Only small calls pass through it."""
LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Ray replaces 127.0.0.1 by an address that other hosts reach."""
OLDEST = (2, 52)
"""The first with tokens."""


class RayCluster:
    """A run's share of a Ray cluster. `bundles` says what each of its processes needs, such as `{"CPU": 1}`.

    With `address`, or where RAY_ADDRESS is set, it joins that cluster; otherwise it starts one on the
    loopback interface of this machine, without a dashboard. `interface` is the address of this machine that
    the hosts reach; "": the one that Ray uses. `spread`: on as many hosts as possible, else on as few.

    UserError: Ray is not installed, or the cluster has too little room. One that does not answer is found by
    `check`.
    """

    def __init__(
        self,
        name: str,
        bundles: Sequence[Mapping[str, float]],
        address: str = "",
        interface: str = "",
        spread: bool = True,
    ) -> None:
        self.ray = imported()
        self.name, self.bundles = name, bundles
        self.agents: dict[int, Any] = {}
        address = joined(address)
        self.owns = not address
        self._connect(address, sum(bundle.get("CPU", 0) for bundle in bundles))
        self.interface = interface or ("127.0.0.1" if self.owns else self.ray.util.get_node_ip_address())
        try:
            self.group = self._reserve([dict(bundle) for bundle in bundles], "SPREAD" if spread else "PACK")
        except BaseException:
            self.ray.shutdown()
            raise

    def launch(self, bundle: int, spawn: Spawn) -> Launch:
        """A way to start what `spawn` describes on a bundle."""
        return Elsewhere(RayAgent(self, bundle), spawn, self.interface)

    def agent(self, bundle: int) -> Any:
        """The actor of a bundle; a new one where there is none, or its host was lost."""
        if bundle not in self.agents:
            where = self.ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
                self.group, placement_group_bundle_index=bundle
            )
            self.agents[bundle] = (
                self.ray.remote(HostAgent)
                .options(
                    name=f"{self.name}-{bundle}",
                    num_cpus=self.bundles[bundle].get("CPU", 0),
                    num_gpus=self.bundles[bundle].get("GPU", 0),
                    scheduling_strategy=where,
                    max_concurrency=16,
                    runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(own_path())}},
                )
                .remote()
            )
        return self.agents[bundle]

    def drop(self, bundle: int) -> None:
        """Ends the actor of a bundle, with the processes that it started."""
        agent = self.agents.pop(bundle, None)
        if agent is not None:
            with suppress(Exception):
                self.ray.kill(agent)

    def close(self) -> None:
        """Gives the run's share back; ends Ray where this run started it."""
        for bundle in list(self.agents):
            self.drop(bundle)
        with suppress(Exception):
            self.ray.util.remove_placement_group(self.group)
        self.ray.shutdown()

    def _connect(self, address: str, cpus: float) -> None:
        common: dict[str, Any] = {
            "namespace": NAMESPACE,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "include_dashboard": None if address else False,
        }
        try:
            if address:
                self.ray.init(address=address, **common)
            else:
                room = {"num_cpus": max(int(cpus), os.cpu_count() or 1), "object_store_memory": OBJECTS}
                self.ray.init("local", _node_ip_address=LOOPBACK, **room, **common)
        except Exception as error:
            if not address:
                raise UserError(f"Ray did not start on this machine ({first_line(error)})") from None
            raise no_cluster(address, first_line(error)) from None

    def _reserve(self, bundles: list[dict[str, float]], strategy: str) -> Any:
        group = self.ray.util.placement_group(bundles, strategy=strategy)
        if not group.wait(READY_LIMIT):
            has, free = self.ray.cluster_resources(), self.ray.available_resources()
            self.ray.util.remove_placement_group(group)
            asked = ", ".join(
                f"{sum(bundle.get(kind, 0) for bundle in bundles):g} {kind} ({free.get(kind, 0):g} of "
                f"{has.get(kind, 0):g} are free)"
                for kind in sorted({kind for bundle in bundles for kind in bundle})
            )
            raise UserError(
                f"the Ray cluster has no room for this run, which asks for {asked}; lower samplers or ranks, "
                "or add hosts by `menon cluster up HOSTS`"
            )
        return group


class RayAgent:
    """The `elsewhere.Agent` of a bundle."""

    def __init__(self, cluster: RayCluster, bundle: int) -> None:
        self.cluster, self.bundle = cluster, bundle
        self.host = f"the host of {cluster.name}-{bundle}"

    def start(self, address: tuple[str, int], token: str, settings: list[Any], environment: Any) -> int:
        """A host that was lost gets one more chance: its actor is made again, on another host if need be."""
        for again in (True, False):
            try:
                agent = self.cluster.agent(self.bundle)
                call = agent.start.remote(address, token, settings, environment)
                return self.cluster.ray.get(call, timeout=CALL_LIMIT)
            except Exception as error:
                self.cluster.drop(self.bundle)
                if not again:
                    raise UserError(
                        f"{self.host} did not start a process within {CALL_LIMIT:.0f} s "
                        f"({first_line(error)}); look at `ray status`"
                    ) from None
        raise AssertionError

    def wait(self, pid: int) -> int:
        agent = self.cluster.agents.get(self.bundle)
        try:
            return -signal.SIGKILL if agent is None else self._ask(agent.wait, pid)
        except Exception:
            return -signal.SIGKILL

    def kill(self, pid: int) -> None:
        """Does not wait: the host may be cut off."""
        agent = self.cluster.agents.get(self.bundle)
        if agent is not None:
            with suppress(Exception):
                agent.kill.remote(pid)

    def _ask(self, method: Any, *arguments: Any) -> Any:
        return self.cluster.ray.get(method.remote(*arguments), timeout=END_LIMIT)


def joined(address: str) -> str:
    """The cluster that a run with this `placement.address` joins; "" where it starts Ray itself."""
    return address or os.environ.get("RAY_ADDRESS", "")


def is_own(address: str) -> bool:
    """Whether a run with this `placement.address` starts Ray itself."""
    return not joined(address)


def check(address: str, interface: str) -> None:
    """UserError, before anything is started, if Ray is not here, no cluster is there, or this machine has no
    such interface."""
    imported()
    if address := joined(address):
        check_reached(address)
    if interface:
        listening(interface).close()


def imported() -> Any:
    """The library, which is to ask for a token; UserError if it is not installed, or too old."""
    if "ray" not in sys.modules:  # it reads these when it is imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UserError(
            f"placement=ray needs Ray, which is not installed; install it by {pip_install('ray')}"
        ) from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", ray.__version__)[:2])
    if numbers < OLDEST:
        raise UserError(
            f"placement=ray needs Ray {'.'.join(map(str, OLDEST))} or newer, and {ray.__version__} is "
            f"installed; install a newer one by {pip_install('ray')}"
        )
    return ray


def check_reached(address: str) -> None:
    """UserError if it is no address, or no Ray listens there: Ray itself tries for a minute, and says much on
    the way."""
    if address == "auto" or "://" in address:
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise UserError(
            f"the address of the Ray cluster is '{address}'; set placement.address=HOST:PORT, like "
            "10.0.0.1:6379, which `menon cluster up` prints"
        )
    try:
        socket.create_connection((host, int(port)), timeout=REACH_LIMIT).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, first_line(error)) from None
    asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        found = subprocess.run(asked, capture_output=True, timeout=HEALTH_LIMIT, check=False).returncode
    except subprocess.TimeoutExpired:
        raise no_cluster(address, f"nothing was said within {HEALTH_LIMIT:.0f} s") from None
    if found:
        raise no_cluster(address, "what listens there is no Ray of this version with this token")


def no_cluster(address: str, why: str) -> UserError:
    return UserError(
        f"no Ray cluster answers at {address} ({why}); start one by `menon cluster up HOSTS`, "
        "or leave placement.address out and RAY_ADDRESS unset to start Ray on this machine alone"
    )


def own_path() -> list[str]:
    """Where this package lies, first: actors import it by name."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
