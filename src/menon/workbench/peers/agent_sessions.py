"""Sessions that `menon serve` recorded: a folder with one `NAME.jsonl` for each episode of an agent."""

from pathlib import Path
from typing import Any

from menon.serve.sessions import sequences_of
from menon.workbench.peers.peer import Answer, Peer, first_line, lines_in, text_of

KEYS = {"prompt_token_ids", "token_ids", "logprobs", "entropies", "choice"}
MISSING = ("training steps", "scores", "the learner's log-probs and advantages", "metrics")


def named(folder: Path) -> str | None:
    files = sorted(folder.glob("*.jsonl"))
    return "menon serve" if files and first_line(files[0]).keys() >= KEYS else None


def read(folder: Path) -> Peer | None:
    if named(folder) is None:
        return None
    files = sorted(folder.glob("*.jsonl"))
    faults: list[str] = []

    def answers(step: int) -> list[Answer]:
        return [one for group, file in enumerate(files) for one in episode(file, group, faults)]

    return Peer("menon serve", MISSING, [1], answers, faults=faults)


def episode(file: Path, group: int, faults: list[str]) -> list[Answer]:
    """The sequences of a session, as a group; what breaks one is named in `faults`."""
    lines = list(lines_in(file, faults))
    sequences, breaks = sequences_of(lines)
    faults += [
        f"{file.stem}: answer {one['answer']} does not go on from sequence {one['sequence']}; the first "
        f"{one['agree']} tokens agree, and it begins a sequence of its own"
        for one in breaks
    ]
    return [answer(lines, one, group, sample) for sample, one in enumerate(sequences)]


def answer(lines: list[dict[str, Any]], sequence: dict[str, Any], group: int, sample: int) -> Answer:
    first, last = lines[sequence["answers"][0]], lines[sequence["answers"][-1]]
    later = [lines[place] for place in sequence["answers"]]
    entropies = iter([value for line in later for value in line["entropies"]])
    return Answer(
        prompt=text_of(first["messages"]) if first["messages"] else str(first["prompt"]),
        completion="\n".join(str(line["text"]) for line in later),
        group=group,
        sample=sample,
        finish=last["finish"],
        tokens={
            "tokens": sequence["tokens"],
            "is_action": sequence["is_action"],
            "behaviour_logp": sequence["logp"],
            "entropy": [next(entropies) if wrote else 0.0 for wrote in sequence["is_action"]],
        },
    )
