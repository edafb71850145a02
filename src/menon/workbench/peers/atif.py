"""ATIF, the Agent Trajectory Interchange Format of Harbor (versions 1.0 to 1.8): JSON files with a
`schema_version` and `steps`, one trajectory in each; Harbor's `result.json` beside them has the reward."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.workbench.peers.peer import NAN, Answer, Peer, grouped, number_of, numbers_in, text_of, within

MOST = 10_000
"""Files that are looked at."""
FEW = 8
"""Files that are looked at to recognise a folder."""
MISSING = ("training steps", "advantages, entropies and the learner's log-probs", "metrics")
ROLES = {"agent": "assistant"}


def named(folder: Path) -> str | None:
    files = sorted(folder.glob("*.json"))[:FEW] or within(folder, "*trajectory*.json", FEW)
    return "ATIF" if any(trajectory(file, []) is not None for file in files) else None


def read(folder: Path) -> Peer | None:
    faults: list[str] = []
    files = sorted(folder.glob("*.json")) or sorted(folder.glob("**/*trajectory*.json"))
    found = [(file, one) for file in files[:MOST] if (one := trajectory(file, faults)) is not None]
    if not found:
        return None

    def answers(step: int) -> list[Answer]:
        ones = [answer(one, result_of(file)) for file, one in found]
        places = grouped([one.prompt for one in ones])
        return [
            Answer(**{**vars(a), "group": g, "sample": s}) for a, (g, s) in zip(ones, places, strict=True)
        ]

    agent = found[0][1].get("agent") or {}
    return Peer("ATIF", MISSING, [1], answers, settings=lambda: dict(agent), faults=faults)


def trajectory(file: Path, faults: list[str]) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        faults.append(f"{file.name}: no JSON")
        return None
    known = isinstance(found, dict) and str(found.get("schema_version", "")).startswith("ATIF-")
    return found if known and isinstance(found.get("steps"), list) else None


def result_of(file: Path) -> dict[str, float]:
    """The rewards of the trial that a trajectory belongs to; {} where there is no result."""
    for place in (file.parent, file.parent.parent):
        try:
            found = json.loads((place / "result.json").read_text(encoding="utf-8"))
            return numbers_in((found.get("verifier_result") or {}).get("rewards") or {})
        except (OSError, ValueError, AttributeError):
            continue
    return {}


def answer(one: Mapping[str, Any], rewards: Mapping[str, float]) -> Answer:
    steps = one["steps"]
    begin = next((place for place, step in enumerate(steps) if step.get("source") == "agent"), len(steps))
    return Answer(
        prompt=text_of([said(step) for step in steps[:begin]]),
        completion=text_of([said(step) for step in steps[begin:]]),
        score=rewards.get("reward", number_of(next(iter(rewards.values()), None))),
        parts=rewards,
        tokens=tokens_of(steps),
    )


def said(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step as a message: thought, text, calls of tools, and what they gave back."""
    thought = step.get("reasoning_content")
    seen = (step.get("observation") or {}).get("results") or ()
    parts = [f"<think>{thought}</think>"] if thought else []
    parts += [text_of(step.get("message"))]
    parts += [f"call: {json.dumps(call)}" for call in step.get("tool_calls") or ()]
    parts += [f"observation: {text_of(one.get('content'))}" for one in seen]
    return {
        "role": ROLES.get(str(step.get("source")), str(step.get("source"))),
        "content": "\n".join(filter(None, parts)),
    }


def tokens_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """One sequence of all steps, where each step's prompt begins with the tokens so far; else {}: the steps
    are no single sequence, or have no tokens."""
    tokens: list[int] = []
    is_action: list[bool] = []
    logp: list[float] = []
    for step in steps:
        metrics = step.get("metrics") or {}
        prompt, new = metrics.get("prompt_token_ids"), metrics.get("completion_token_ids")
        if step.get("source") != "agent" or step.get("is_copied_context"):
            continue
        if not prompt or not new or prompt[: len(tokens)] != tokens:
            return {}
        given = prompt[len(tokens) :]
        numbers = metrics.get("logprobs") or []
        tokens += [*given, *new]
        is_action += [False] * len(given) + [True] * len(new)
        logp += [0.0] * len(given) + (numbers if len(numbers) == len(new) else [NAN] * len(new))
    columns: dict[str, list[Any]] = {"tokens": tokens, "is_action": is_action}
    return (columns | ({"behaviour_logp": logp} if any(x == x for x in logp) else {})) if tokens else {}
