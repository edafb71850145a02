"""A runner on another machine, by HTTP: its reply is taken as the verdict (the protocol: docs/sandbox.md)."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from menon.errors import UserError
from menon.http import JsonServer, ServerFailed
from menon.sandbox.launch import SandboxError

LONGEST_REPLY = 1 << 20
OUTCOMES = ("pass", "fail", "timeout", "memory", "sandbox")


def check_address(url: str) -> None:
    """UserError unless the runner is asked by https, or on this machine by http: who can change its replies
    gives the rewards."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise UserError(
            f"sandbox={url} is no address of a runner; write one like https://HOST/run, or a level"
        )
    if parts.scheme == "http" and not on_this_machine(parts.hostname):
        raise UserError(
            f"sandbox={url} asks a runner on another machine by plain http, where anybody on the way can "
            "change a verdict; write https://, or tunnel it to a port of this machine"
        )


def on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def ask(url: str, request: Mapping[str, Any], seconds: float, key_variable: str = "") -> dict[str, Any]:
    """POSTs `{"code", "tests", "entry", ...}` and returns the reply, `{"outcome", "passed", "total", ...}`.
    The value of the environment variable `key_variable` goes with it as a bearer token.

    SandboxError if the runner cannot be reached, takes more than `seconds`, says that it failed ("outcome":
    "error"), has run another number of tests, or answers something else. It is asked only once; the caller
    decides what to do about a failure.
    """
    if key_variable and not os.environ.get(key_variable):
        raise SandboxError(f"the runner cannot be asked: {key_variable}, which holds its key, is not set")
    headers = {"Authorization": f"Bearer {os.environ[key_variable]}"} if key_variable else {}
    try:
        with JsonServer(url, seconds, longest=LONGEST_REPLY) as server:
            said = server.post(request, headers=headers)
    except ServerFailed as error:
        raise SandboxError(f"the runner cannot be asked: {error}") from error
    if not isinstance(said, dict) or said.get("outcome") not in OUTCOMES or not _counts(said):
        why = said.get("why", "") if isinstance(said, dict) else ""
        raise SandboxError(f"the runner {url} gave no verdict: {str(why or said)[:200]}")
    if said["total"] != (asked := len(request["tests"])):
        raise SandboxError(f"the runner {url} has run {said['total']} tests, and it was given {asked}")
    return said | {name: _amount(said.get(name)) for name in ("cpu_seconds", "memory_mb")}


def _amount(value: Any) -> float:
    """A number of a reply that nothing depends on; 0 for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    return float(value) if plain else 0.0


def _counts(said: Mapping[str, Any]) -> bool:
    passed, total = said.get("passed"), said.get("total")
    plain = all(isinstance(number, int) and not isinstance(number, bool) for number in (passed, total))
    return plain and 0 <= passed <= total and total > 0 and (said["outcome"] == "pass") == (passed == total)  # type: ignore[operator]
