"""A runner on another machine, by HTTP: its reply is taken as the verdict (the protocol: docs/sandbox.md)."""

from collections.abc import Mapping
from typing import Any

from menon.http import JsonServer, ServerFailed
from menon.sandbox.launch import SandboxError

LONGEST_REPLY = 1 << 20
OUTCOMES = ("pass", "fail", "timeout", "memory", "sandbox")


def ask(url: str, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """POSTs `{"code", "tests", "entry", ...}` and returns the reply, `{"outcome", "passed", "total", ...}`.

    SandboxError if the runner cannot be reached, takes more than `seconds`, says that it failed ("outcome":
    "error"), or answers something else. It is asked only once; the caller decides what to do about a failure.
    """
    try:
        with JsonServer(url, seconds, longest=LONGEST_REPLY) as server:
            said = server.post(request)
    except ServerFailed as error:
        raise SandboxError(f"the runner cannot be asked: {error}") from error
    if not isinstance(said, dict) or said.get("outcome") not in OUTCOMES or not _counts(said):
        why = said.get("why", "") if isinstance(said, dict) else ""
        raise SandboxError(f"the runner {url} gave no verdict: {str(why or said)[:200]}")
    return said


def _counts(said: Mapping[str, Any]) -> bool:
    passed, total = said.get("passed"), said.get("total")
    plain = all(isinstance(number, int) and not isinstance(number, bool) for number in (passed, total))
    return plain and 0 <= passed <= total and total > 0 and (said["outcome"] == "pass") == (passed == total)  # type: ignore[operator]
