"""`menon check data`: the dry run of a run, or its gold answers alone."""

from collections.abc import Sequence
from difflib import get_close_matches

from menon.cli.dry_run import dry_run, own_words
from menon.cli.golds import golds_alone
from menon.cli.words import understand
from menon.errors import UserError
from menon.prompts.sources import HUB, named_split
from menon.recipes import RECIPES
from menon.settings import setting

NO_OPTION = "menon check takes no option '{option}'; settings are key=value"


def check_data(words: Sequence[str]) -> int:
    """The dry run of `menon train`: takes the same words, trains nothing, writes no file. It shows the first
    prompt as the model will read it, the first answers that the run would draw, what they earn, and the signs
    that the run would show before its first step. Then it checks that every gold answer of the file earns the
    full reward, where it is known how an answer is stated. n=16 is the number of answers; tokens=true shows
    the prompt token by token.

    With a file in place of data=FILE, and without model=, only the gold answers are checked, without a model:
    `menon check data FILE reward=math columns.answer=NAME`. With the reward `code` a row fails by its tests.

    Exit code 0 if there is no sign and no fault, else 1."""
    rest, own = own_words(words)
    given = understand(rest, ("resume",), no_option=NO_OPTION)
    files = [word for word in given.plain if names_data(word)]
    questions = [name for name in ("data", "task") if setting(given.settings, name) is not None]
    if len(files) + len(questions) > 1:
        named = [*files, *(f"{name}={setting(given.settings, name)}" for name in questions)]
        raise UserError(f"the questions are named twice, {' and '.join(named)}; leave one of them out")
    if not files:
        return dry_run(rest, own)
    if setting(given.settings, "model") is not None:
        return dry_run([f"data={word}" if word in files else word for word in rest], own)
    return golds_alone(files[0], given.settings, [w for w in given.plain if w not in files], own)


def names_data(word: str) -> bool:
    """Whether a word without `=` names a data set: not a recipe, also a misspelt one, a file of settings or
    a run.json."""
    path = named_split(word)[0]
    if word in RECIPES or word.endswith((".yaml", ".yml", ".toml")) or path.name == "run.json":
        return False
    sure = word.startswith(HUB) or path.exists() or bool(path.suffix)
    return sure or not get_close_matches(word, RECIPES, 1, 0.6)
