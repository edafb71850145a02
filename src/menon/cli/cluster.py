"""`menon cluster up HOSTS`, `menon cluster down HOSTS`: Ray on plain hosts, for `placement=ray`."""

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from menon.cli.words import understand
from menon.engines.ray_cluster import OLDEST
from menon.errors import UserError

REACH = "ssh -o BatchMode=yes -o ConnectTimeout=10 {host}"
START_LIMIT = 180.0
"""Seconds that a host may take to start Ray."""
TOKEN = """
import os, pathlib, sys
file, token = pathlib.Path.home() / ".ray" / "auth_token", {token!r}
file.parent.mkdir(mode=0o700, exist_ok=True)
if not file.exists():
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
        new.write(token)
sys.exit(0 if file.read_text().strip() == token else {odd})
"""
"""What a host runs so that it has the token of the cluster; sent by stdin, it is seen in no process list."""
OTHER_TOKEN = 79
"""Exit code of it where the host has another token."""
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
    interpreter there, with Menon and Ray (default: the path of this one), `port` that of the head (6379),
    `cpus` how many a host offers (default: all), `head_cpus` those of the head.

    There is no dashboard. Ray asks for the token in ~/.ray/auth_token, which is copied to each host; who has
    it can run code on all of them, and nothing is encrypted (SECURITY.md).
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
    program = TOKEN.format(token=token_here(), odd=OTHER_TOKEN)
    run(host, settings, [settings.get("python", sys.executable), "-"], program)
    ray(host, settings, ["start", *options, f"--node-ip-address={host.address}", "--disable-usage-stats"])
    print(f"{host.name}: Ray runs ({host.address})", flush=True)


def token_here() -> str:
    """The token that this user's clusters ask for; made where there is none."""
    file = Path.home() / ".ray" / "auth_token"
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    return file.read_text().strip()


def ray(host: Host, settings: dict[str, str], words: list[str]) -> None:
    """Runs Ray's own command on a host."""
    python = settings.get("python", sys.executable)
    run(host, settings, ["env", "RAY_AUTH_MODE=token", python, "-m", "ray.scripts.scripts", *words])


def run(host: Host, settings: dict[str, str], words: list[str], stdin: str = "") -> None:
    """Runs a command on a host; UserError with what to do if it fails."""
    reach = shlex.split(settings.get("reach", REACH).format(host=host.name))
    try:
        done = subprocess.run(
            [*reach, *words], capture_output=True, text=True, timeout=START_LIMIT, input=stdin
        )
    except subprocess.TimeoutExpired:
        late = f"{host.name} did not answer within {START_LIMIT:.0f} s"
        raise UserError(f"{late}; try `{shlex.join(reach)} true`") from None
    except OSError as error:
        how = "set reach= to a command that is here"
        raise UserError(f"{reach[0]} cannot be run ({error.strerror}); {how}") from None
    if done.returncode == OTHER_TOKEN:
        raise UserError(
            f"{host.name} has another token in ~/.ray/auth_token than this machine; copy this one there, or "
            "delete it there if no cluster uses it"
        )
    if done.returncode:
        python, port = settings.get("python", sys.executable), settings.get("port", "6379")
        raise UserError(advice(host, reach, python, port, done.stdout + done.stderr))


def advice(host: Host, reach: Sequence[str], python: str, port: str, said: str) -> str:
    """Why Ray did not start, by what was printed, and what to do."""
    again, oldest = shlex.join(reach), ".".join(map(str, OLDEST))
    if "No module named" in said and "ray" in said:
        return f"{host.name} has no Ray; install it by `{again} {python} -m pip install 'ray>={oldest}'`"
    if "already" in said or "in use" in said.lower():
        return (
            f"something uses port {port} of {host.name}, or Ray runs there already; set port= to another "
            f"one, or end it by `menon cluster down {host.name}`"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    if "No such file" in said and python in said:
        return f"{host.name} has no {python}; set python= to the interpreter there that has Menon and Ray"
    return f"Ray did not start on {host.name} ({last[:300]}); look there, by `{again}`"
