"""A runner on another machine, by HTTP: what it says of a program is taken as the verdict (its protocol: docs/sandbox.md)."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from menon.sandbox.launch import SandboxError

LONGEST_REPLY = 1 << 20
OUTCOMES = ("pass", "fail", "timeout", "memory", "sandbox")


def ask(url: str, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """POSTs `{"code", "tests", "entry", "helpers", "limits", ...}`; `{"outcome", "passed", "total", ...}` comes back.

    SandboxError if the runner cannot be reached, is late, says that it failed ("outcome": "error"), or answers something else.
    """
    asked = urllib.request.Request(url, json.dumps(request).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=seconds) as reply:
            data = reply.read(LONGEST_REPLY)
    except (OSError, ValueError) as error:
        raise SandboxError(f"the runner {url} cannot be asked: {error}") from error
    try:
        said = json.loads(data)
    except ValueError as error:
        raise SandboxError(f"the runner {url} answered no JSON") from error
    if not isinstance(said, dict) or said.get("outcome") not in OUTCOMES or not _counts(said):
        why = said.get("why", "") if isinstance(said, dict) else ""
        raise SandboxError(f"the runner {url} gave no verdict: {str(why or said)[:200]}")
    return said


def _counts(said: Mapping[str, Any]) -> bool:
    passed, total = said.get("passed"), said.get("total")
    plain = all(isinstance(number, int) and not isinstance(number, bool) for number in (passed, total))
    return plain and 0 <= passed <= total and total > 0 and (said["outcome"] == "pass") == (passed == total)  # type: ignore[operator]
