"""What a configuration consists of: its parts with their formulas and settings, and the whole of it as
YAML."""

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from menon.cli.catalogue import ALGORITHMS, STAGES, page_of
from menon.docstrings import first_sentence
from menon.settings import Tree, plain_data, value_text

if TYPE_CHECKING:
    from menon.columns import Setup
    from menon.config import Models, OnlineSource


def described(
    recipe: str, setup: "Setup", source: "OnlineSource", models: "Models", width: int
) -> Iterator[str]:
    """The objective as a sum, and every part: place, kind, formula, settings."""
    yield f"  lowers       {objective(setup.objective)}"
    if models.critic is not None:
        yield f"  critic       {objective(models.critic.objective)}"
    yield f"  reference    {models.reference}"
    if models.taught:
        several = ", ".join(f"{name}: {model}" for name, model in models.teachers.items())
        average = f", a moving average of the policy: rate {models.teacher_rate:g}"
        name = several or models.teacher or "to be named: set teacher=FOLDER"
        yield f"  teacher      {name}{average if models.teacher_rate else ''}"
    pages = []
    if dataclasses.is_dataclass(source.reward):
        yield from part_lines("reward", source.reward, width)
    else:
        from menon.assembly.header import reward_in_words

        yield from wrapped("  reward       ", reward_in_words(source), width)
    for place, part in setup.parts():
        yield from part_lines(place, part, width)
        pages.append(page_of_part(part))
    if models.reference_update is not None:
        yield from part_lines("reference_update", models.reference_update, width)
    named = dict.fromkeys(page for page in (page_of(recipe), *pages) if page not in ("", ALGORITHMS))
    yield ""
    yield from wrapped("  pages        ", ", ".join(named or [ALGORITHMS]), width)


def objective(terms: Mapping[str, Any]) -> str:
    """The terms with their coefficients, as a sum.

    >>> from menon.loss import KL, PPOClip
    >>> from menon.loss.aggregation import TokenMean
    >>> from menon.update.terms import Term
    >>> objective({"policy": Term(PPOClip(), TokenMean()), "kl": Term(KL(), TokenMean(), coef=0.04)})
    'policy + 0.04 kl'
    """
    return " + ".join(f"{term.coef:g} {name}" if term.coef != 1 else name for name, term in terms.items())


def part_lines(place: str, part: Any, width: int) -> Iterator[str]:
    """A part of a configuration: its kind, the first sentence of its docstring, its settings."""
    kind = plain_data(part)["kind"] if dataclasses.is_dataclass(part) else part
    name = kind if isinstance(kind, str) else plain_data(part)
    yield ""
    yield f"  {place} = {name}"
    if not dataclasses.is_dataclass(part):
        return
    yield from wrapped("    ", first_sentence(inspect.getdoc(type(part)) or ""), width)
    if settings := ", ".join(setting_texts(part)):
        yield from wrapped("    ", settings, width)


def setting_texts(part: Any) -> Iterator[str]:
    """The settings of a part, each with its default where the value is another one."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if not field.init or field.name == "kind":
            continue
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        default = "" if made in (dataclasses.MISSING, value) else f" (default {text_of_value(made)})"
        yield f"{field.name}={text_of_value(value)}{default}"


def text_of_value(value: Any) -> str:
    """A value as it is typed."""
    plain = plain_data(value)
    if isinstance(plain, float):
        return f"{plain:g}"
    if isinstance(plain, Mapping):
        return str(plain.get("kind", plain)).replace("'", "")
    return plain if isinstance(plain, str) and plain else value_text(plain)


def page_of_part(part: Any) -> str:
    """The page of a built-in part; "" for a user's own."""
    kind, module = getattr(part, "kind", ""), type(part).__module__
    stages = [stage for stage in STAGES if kind in {one.kind for one in stage.parts}]
    return page_of(kind, stages[0]) if stages and module.startswith("menon.") else ""


def wrapped(label: str, text: str, width: int) -> list[str]:
    """Text after a label, continued below itself."""
    indent = " " * len(label)
    return textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False
    ) or [label]


def as_yaml(configuration: Tree, settings: Tree) -> str:
    """A whole configuration as plain data, to be read again by `menon train FILE.yaml`. `settings` are those
    that the user gave: without `out` and `threads` among them, each run chooses these itself.

    What the recipe has and this configuration has not is written as null, because the file is read on top of
    the recipe.
    """
    import yaml

    from menon.recipes import RECIPES, recipe
    from menon.settings import setting

    tree = kind_first(configuration)
    name = tree["recipe"]
    del tree["own_code"]
    if setting(settings, "out") is None:
        del tree["control"]["out"]
    if setting(settings, "threads") is None:
        tree["engine"]["threads"] = None
    if name in RECIPES:
        whole = plain_data(recipe(name))
        pairs = [(whole, tree, name) for name in ("arrange", "advantage", "objective")]
        if whole["models"]["critic"] and tree["models"]["critic"]:
            pairs.append((whole["models"]["critic"], tree["models"]["critic"], "objective"))
        for old, new, name in pairs:
            new[name] |= dict.fromkeys(old[name].keys() - new[name].keys())
    head = f"# Every setting of the recipe {name}. `menon train FILE.yaml` runs it.\n"
    return head + str(yaml.safe_dump(tree, sort_keys=False, width=100, allow_unicode=True))


def kind_first(value: Any) -> Any:
    """A tree with the kind of each part before its settings."""
    if isinstance(value, list):
        return [kind_first(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    names = sorted(value, key=lambda name: name != "kind")
    return {name: kind_first(value[name]) for name in names}
