"""verifiers: `traces.jsonl`, one episode on each line (`verifiers.v1.utils.trace_store.write_episode`)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.workbench.peers.peer import NAN, Answer, Peer, first_line, grouped, lines_in, numbers_in, text_of

FILE = "traces.jsonl"
MISSING = ("metrics of steps", "ratios, and what the updates did")
STREAMS = {
    "behaviour_logp": "logprobs",
    "old_logp": "trainer_logprobs",
    "ref_logp": "reference_logprobs",
    "entropy": "entropies",
    "advantage": "advantages",
}
"""Column of a transcript -> the stream of a node, which has a number for each token that was sampled."""


def named(folder: Path) -> str | None:
    return "verifiers" if {"traces", "task"} <= first_line(folder / FILE).keys() else None


def read(folder: Path) -> Peer | None:
    if named(folder) is None:
        return None
    faults: list[str] = []
    episodes = list(lines_in(folder / FILE, faults))
    steps: dict[int, list[dict[str, Any]]] = {}
    for episode in episodes:
        steps.setdefault(step_of(episode), []).append(episode)
    return Peer("verifiers", MISSING, sorted(steps), lambda step: answers(steps[step]), faults=faults)


def step_of(episode: Mapping[str, Any]) -> int:
    """The training step that an episode was dispatched at; 1 of an evaluation."""
    work = (episode.get("run") or {}).get("work") or {}
    return int(work.get("step", 1))


def answers(episodes: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """An answer for each branch of each trace. Episodes of one group, or of one task, are a group."""
    found = []
    for episode in episodes:
        task = episode.get("task") or {}
        name = (episode.get("group") or {}).get("id") or task.get("key") or task.get("hash") or str(task)
        data = task.get("data") or {}
        for trace in episode.get("traces") or ():
            for path in branches(trace.get("nodes") or []):
                found.append((name, answer(trace, path, data.get("answer"))))
    places = grouped([name for name, _ in found])
    return [
        Answer(**{**vars(one), "group": g, "sample": s})
        for (_, one), (g, s) in zip(found, places, strict=True)
    ]


def branches(nodes: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The paths from a root to each leaf."""
    parents = {node.get("parent") for node in nodes}
    for leaf in range(len(nodes)):
        if leaf in parents:
            continue
        path: list[Mapping[str, Any]] = []
        place: int | None = leaf
        while place is not None and len(path) <= len(nodes):
            path.append(nodes[place])
            place = nodes[place].get("parent")
        yield path[::-1]


def answer(trace: Mapping[str, Any], path: Sequence[Mapping[str, Any]], gold: Any) -> Answer:
    begin = next((place for place, node in enumerate(path) if node.get("sampled")), len(path))
    rewards = {name: one for name, one in (trace.get("rewards") or {}).items() if one is not None}
    parts = {name: float(one["score"]) for name, one in rewards.items()}
    calls = [call.get("finish_reason") for call in trace.get("calls") or () if call.get("finish_reason")]
    return Answer(
        prompt=text_of([node["message"] for node in path[:begin]]),
        completion=text_of([node["message"] for node in path[begin:]]),
        score=sum(float(one["score"]) * float(one.get("weight", 1)) for one in rewards.values())
        if rewards
        else NAN,
        gold=None if gold is None else str(gold),
        finish="abort" if trace.get("errors") else "length" if calls[-1:] == ["length"] else "stop",
        parts=parts | numbers_in(trace.get("metrics") or {}),
        tokens=tokens_of(path),
    )


def tokens_of(path: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns of a branch; {} where a node has no tokens."""
    if not all(node.get("token_ids") for node in path):
        return {}
    tokens = [token for node in path for token in node["token_ids"]]
    is_action = [bool(one) for node in path for one in node.get("mask") or [False] * len(node["token_ids"])]
    if len(is_action) != len(tokens):
        return {}
    columns: dict[str, list[Any]] = {"tokens": tokens, "is_action": is_action}
    for column, stream in STREAMS.items():
        values = [value for node in path for value in node.get(stream) or ()]
        if len(values) == sum(is_action):
            rest = iter(values)
            columns[column] = [next(rest) if one else 0.0 for one in is_action]
    return columns
