"""How requests are divided among processes, and in which order those are sent that must be waited for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from queue import SimpleQueue

from menon.types import Prompt, Request


def deal(requests: Sequence[Request], count: int, lanes: dict[int, int] | None) -> list[list[Request]]:
    """Divides the requests into `count` parts of about equal size, with those of a prompt together. With
    `lanes`, all requests of a prompt go to one part, always the same."""
    by_prompt: dict[int, list[Request]] = {}
    for request in requests:
        by_prompt.setdefault(request.prompt.index, []).append(request)
    if lanes is None:
        ordered = [request for group in by_prompt.values() for request in group]
        cuts = [len(ordered) * part // count for part in range(count + 1)]
        return [ordered[begin:end] for begin, end in pairwise(cuts)]
    parts: list[list[Request]] = [[] for _ in range(count)]
    for index, group in by_prompt.items():
        lane = lanes.setdefault(index, min(range(count), key=lambda part: len(parts[part])))
        parts[lane].extend(group)
    return parts


def bare(requests: Sequence[Request]) -> list[Request]:
    """The requests without the fields that only this process needs: texts and columns of the questions."""
    found: dict[int, Prompt] = {}
    for request in requests:
        prompt = request.prompt
        found.setdefault(id(prompt), replace(prompt, text="", answer=None, columns={}))
    return [replace(request, prompt=found[id(request.prompt)]) for request in requests]


def do_in_order(late: "SimpleQueue[Callable[[], None] | None]") -> None:
    """Runs what comes, one after the other, until None comes."""
    while (work := late.get()) is not None:
        work()
