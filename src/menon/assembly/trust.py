"""What the settings of a run folder would run and whom they would ask. Code and servers that the user has
named before are known; those that a folder brings wait for the user's word, own_code=allow."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.settings import Tree
from menon.user_code import file_named, source_hash

WORD = "own_code"
KEY = "OPENAI_API_KEY"
"""The variable of a server's key where the settings name none."""
REFERENCE = re.compile(r"(.+\.py|[^\s/:]+):[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""What `user_code.load_object` may load; also `hub:NAME`, which is data."""


@dataclass(frozen=True)
class Named:
    """A piece of code, or a server."""

    does: str
    """What it would do, as a message says it."""
    place: str
    """Fingerprint of the place of the code, or of the server's address and the variable."""
    whole: str
    """Fingerprint that also holds what stands in the code."""


def named_in(tree: Any) -> Iterator[Named]:
    """Everything in a tree of settings that is code of somebody's, or a server. A text that only looks like
    the name of code counts too."""
    if isinstance(tree, Mapping):
        yield from of_table(tree)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for value in tree:
            yield from named_in(value)
    elif isinstance(tree, str):
        yield from of_text(tree)


def of_text(text: str) -> Iterator[Named]:
    """The code that a text names, if it does; also as the name of a setting, as in the parts of a mix."""
    if REFERENCE.fullmatch(text) and not text.startswith("hub:"):
        file = file_named(text)
        where = f" ({file})" if file is not None and str(file) not in text else ""
        place = ("code", str(file or text))
        yield Named(f"runs {text}{where}", digest(*place), digest(*place, source_hash(text)))


OUTSIDE = {
    ("verifiers", "taskset"): "runs the taskset {} of verifiers",
    ("agent", "command"): "runs the command {!r}",
    ("vllm", "python"): "starts vLLM by {}",
    ("vllm", "arguments"): "gives vLLM the arguments {}",
    ("ray", "address"): "joins the Ray cluster {}",
}
"""(kind, setting) -> what a run with it does. Arguments of vLLM may name code (`trust_remote_code`)."""
TRACKERS = "tracker"


def of_table(table: Mapping[str, Any]) -> Iterator[Named]:
    """What a table of settings names."""
    for (kind, name), does in OUTSIDE.items():
        if table.get("kind") == kind and (value := table.get(name)):
            yield by_itself(does.format(value), kind, str(value))
    if (sandbox := table.get("sandbox")) == "limits_only":
        yield by_itself("runs programs of its model with limits only", "sandbox", sandbox)
    if tracker := table.get(TRACKERS):
        yield by_itself(f"reports to {tracker}", TRACKERS, str(tracker))
    for name, value in table.items():
        yield from of_text(name)
        if isinstance(value, str) and "://" in value:
            key = str(table.get("key_variable", KEY if name == "url" else ""))
            with_key = f"with the key in {key}" if key else "without a key"
            yield by_itself(f"asks {value} {with_key}", "server", value, key)
        elif name != WORD:
            yield from named_in(value)


def by_itself(does: str, *what: str) -> Named:
    """What is known by its name alone."""
    known = digest(*what)
    return Named(does, known, known)


def check_allowed(tree: Any, where: Path | str, word: Any = None) -> None:
    """UserError if settings that stand in `where` name code or servers that the user has not named before,
    unless the user's `word` allows them; then they are remembered as they are now."""
    if word not in (None, "allow"):
        raise UserError(f"own_code is {word}; it takes allow, or leave it out")
    known = remembered()
    new = {one.does: one for one in named_in(tree) if not known & {one.place, one.whole}}
    if not new:
        return
    if word is None:
        raise UserError(
            f"{where} brings what you have not named yourself: it {', '.join(new)}; look at it, and add "
            "own_code=allow if you trust it"
        )
    remember({one.whole for one in new.values()})


def remember_given(*trees: Mapping[str, Any]) -> None:
    """Remembers the code and the servers in settings of the user's own. Code is known by its place: who named
    a file may edit it."""
    remember({one.place for tree in trees for one in named_in(tree)})


def remember(fingerprints: set[str]) -> None:
    """Adds to what the user has named. Where nothing can be written, the word is asked for again."""
    new = fingerprints - remembered()
    if not new:
        return
    with suppress(OSError):
        memory().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with memory().open("a", encoding="ascii") as file:
            file.writelines(f"{one}\n" for one in sorted(new))


def remembered() -> set[str]:
    """The fingerprints of what the user has named."""
    try:
        return set(memory().read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()


def memory() -> Path:
    """The file of the fingerprints, one a line."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "menon" / "named"


def changed_code(settings: Mapping[str, Any]) -> list[str]:
    """The parts and functions of the user's that are not what they were when a run began; none of them is
    loaded."""
    recorded = settings.get(WORD) or {}
    return [name for name, code in recorded.items() if source_hash(name) != code]


def without_word(settings: Mapping[str, Any]) -> tuple[Tree, Any]:
    """Settings that the user gives, and the word among them."""
    rest = {name: value for name, value in settings.items() if name != WORD}
    return rest, settings.get(WORD)


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
