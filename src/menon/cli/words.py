"""The grammar of all commands: positional words, settings `key=value`, options `--name VALUE`."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from menon.errors import UserError
from menon.settings import Tree, merged, nested, override, value_text

SETTING = re.compile(r"[A-Za-z_.]+=")
"""How a setting begins, where other words may be sentences with an equals sign."""
NO_OPTION = "there is no option {option}; settings are written without dashes, like k=8"
"""The message of evaluations and studies."""


@dataclass(frozen=True)
class Words:
    """The words of a command line, each kind in its order."""

    plain: tuple[str, ...]
    overrides: tuple[Tree, ...]
    """One table for each setting, because what a short name stands for may depend on settings before it."""
    options: dict[str, str]
    """Name without dashes -> value; "" where none was given."""

    @property
    def settings(self) -> Tree:
        """All overrides as one tree, later ones over earlier ones."""
        tree: Tree = {}
        for one in self.overrides:
            tree = merged(tree, nested(one))
        return tree


def on_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()


def wants_json(settings: Tree) -> bool:
    """Takes `json` out of the settings: whether the last line is JSON. Without it, JSON is for programs
    alone, that is where stdout is no terminal."""
    given = settings.pop("json", "false" if on_terminal() else "true")
    if given not in ("true", "false"):
        raise UserError(f"json is {value_text(given)}; it takes true or false")
    return bool(given == "true")


def check_once(words: Sequence[str]) -> None:
    """UserError where a command gives one setting twice, with different values: one would be dropped
    unsaid."""
    seen: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not (SETTING.match(word) or word.startswith("arms.")) or Path(word).exists():
            continue
        if seen.setdefault(name, value) != value:
            how = "put the rows of both into one file" if name.endswith("data") else "give it once"
            raise UserError(f"{name} is given twice, as {seen[name]} and as {value}; {how}")


def last_of_each(words: Sequence[str]) -> list[str]:
    """The words, where a later setting takes the place of an earlier one of the same name.

    >>> last_of_each(["grpo", "steps=3", "seed=1", "steps=4"])
    ['grpo', 'seed=1', 'steps=4']
    """
    last = {word.partition("=")[0] if "=" in word else word: place for place, word in enumerate(words)}
    return [words[place] for place in sorted(last.values())]


def understand(
    words: Sequence[str],
    options: Sequence[str] = (),
    *,
    sentences: bool = False,
    no_option: str = "there is no option {option}; settings are written without dashes, like steps=20",
) -> Words:
    """Sorts the words of a command; `options` are the names that it takes, without dashes.

    A word with '=' is a setting unless a file has that name; with `sentences` only if it begins with a name
    and '='. UserError: an option that the command does not take (`no_option` is the sentence), or a setting
    without a key.
    """
    plain: list[str] = []
    overrides: list[Tree] = []
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in options:
            found[name] = value if equals else next(rest, "")
        elif word.startswith("-"):
            raise UserError(no_option.format(option=word.partition("=")[0]))
        elif SETTING.match(word) if sentences else "=" in word and not Path(word).exists():
            overrides.append(dict([override(word)]))
        else:
            plain.append(word)
    return Words(tuple(plain), tuple(overrides), found)
