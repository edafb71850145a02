"""`menon cluster up HOSTS`, `menon cluster down HOSTS`: Ray on plain hosts, for `placement=ray`."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from menon.cli.words import understand
from menon.errors import UserError

REACH = "ssh -o BatchMode=yes -o ConnectTimeout=10 {host}"
START_LIMIT = 180.0
"""Seconds that a host may take to start Ray."""
KNOWN = ("reach", "python", "port", "cpus", "head_cpus")


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    """What the other hosts reach it by."""

    @staticmethod
    def of(word: str) -> "Host":
        """NAME, or NAME/ADDRESS where the others reach it by another address than the one it is started
        by."""
        name, _, address = word.partition("/")
        return Host(name, address or name.rpartition("@")[2])


def cluster(words: Sequence[str]) -> int:
    """`menon cluster up HOST HOST ...` starts Ray on plain hosts, the first one its head, and says how a run
    joins; `menon cluster down HOST ...` ends all of Ray on them. A host is NAME or NAME/ADDRESS, the address
    by which the others reach it.

    `reach` is the command that runs another one on a host (default: ssh without questions), `python` the
    interpreter there, with menon[ray] (default: the path of this one), `port` that of the head (6379), `cpus`
    how many a host offers (default: all), `head_cpus` those of the head.

    There is no dashboard. What can reach the port can run code on all hosts, so it belongs on a network of
    your own (SECURITY.md).
    """
    found = understand(words, no_option="there is no option {option}; settings are like reach='ssh {{host}}'")
    settings = {name: str(value) for name, value in found.settings.items()}
    if odd := sorted(settings.keys() - set(KNOWN)):
        raise UserError(f"menon cluster has no setting '{odd[0]}'; it takes {', '.join(KNOWN)}")
    what, *hosts = found.plain or ("",)
    if what not in ("up", "down") or not hosts:
        raise UserError("say `menon cluster up HOST HOST ...` or `menon cluster down HOST HOST ...`")
    if what == "down":
        for host in map(Host.of, hosts):
            ray(host, settings, ["stop"])
            print(f"{host.name}: Ray has ended")
        return 0
    head, *others = map(Host.of, hosts)
    port = settings.get("port", "6379")
    own = ["--head", f"--port={port}", "--include-dashboard=false"]
    start(head, settings, [*own, *cpus(settings.get("head_cpus", settings.get("cpus")))])
    for host in others:
        start(host, settings, [f"--address={head.address}:{port}", *cpus(settings.get("cpus"))])
    print(
        f"a run on {head.name} joins by\n"
        f"  menon train placement=ray placement.address={head.address}:{port} "
        f"placement.interface={head.address} samplers={max(1, len(others))}"
    )
    return 0


def cpus(count: str | None) -> list[str]:
    return [] if count is None else [f"--num-cpus={count}"]


def start(host: Host, settings: dict[str, str], options: list[str]) -> None:
    ray(host, settings, ["start", *options, f"--node-ip-address={host.address}", "--disable-usage-stats"])
    print(f"{host.name}: Ray runs ({host.address})", flush=True)


def ray(host: Host, settings: dict[str, str], words: list[str]) -> None:
    """Runs Ray's own command on a host; UserError with what to do if it fails."""
    reach = shlex.split(settings.get("reach", REACH).format(host=host.name))
    python = settings.get("python", sys.executable)
    try:
        done = subprocess.run(
            [*reach, python, "-m", "ray.scripts.scripts", *words],
            capture_output=True,
            text=True,
            timeout=START_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{host.name} did not answer within {START_LIMIT:.0f} s; try `{shlex.join(reach)} true`"
        ) from None
    except OSError as error:
        raise UserError(
            f"{reach[0]} cannot be run ({error.strerror}); set reach= to a command that is here"
        ) from None
    if done.returncode:
        raise UserError(advice(host, reach, python, settings.get("port", "6379"), done.stdout + done.stderr))


def advice(host: Host, reach: Sequence[str], python: str, port: str, said: str) -> str:
    """Why Ray did not start, by what was printed, and what to do."""
    again = shlex.join(reach)
    if "No module named" in said and "ray" in said:
        return f"{host.name} has no Ray; install it by `{again} {python} -m pip install 'menon[ray]'`"
    if "already" in said or "in use" in said.lower():
        return (
            f"something uses port {port} of {host.name}, or Ray runs there already; set port= to another "
            f"one, or end it by `menon cluster down {host.name}`"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    if "No such file" in said and python in said:
        return f"{host.name} has no {python}; set python= to the interpreter there that has menon[ray]"
    return f"Ray did not start on {host.name} ({last[:300]}); look there, by `{again}`"
