"""Calls reward functions with the signatures of Menon, TRL, verl and OpenRLHF, which it distinguishes by
their parameters.  A function is asked about one answer at a time; where a framework passes lists, they have
one element. `judge` never raises for an error in a function: a result that is no finite number becomes a NaN
verdict that says what happened.
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from menon.types import NOT_APPLICABLE, Verdict
from menon.user_code import describe, is_own, label

Shape = Literal["menon", "trl", "verl", "openrlhf"]

SIGNATURES = (
    "f(prompt, completion, answer, **columns) -> float | dict | Verdict",
    "TRL's f(prompts, completions, **kwargs) -> list[float | None]",
    "verl's f(data_source, solution_str, ground_truth, extra_info=None) -> float | dict",
    "OpenRLHF's f(queries, prompts, labels) -> tensor | dict",
)

GOLD = ("ground_truth", "solution")
"""Columns from which existing functions read the gold answer; they get it there if a row has no such
column."""


class Unusable(Exception):
    """A function cannot be called, or what it returned is no reward; the message says why."""


@dataclass(frozen=True)
class Asked:
    """One answer to be judged, as plain data that can be sent to another process."""

    prompt: str
    completion: str
    answer: str | None
    columns: Mapping[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    completion_ids: list[int] = field(default_factory=list)


def shape_of(function: Callable[..., Any], name: str) -> Shape:
    """The shape of a function's signature; Unusable, with the four signatures, if it has none of them."""
    if isinstance(function, type):
        raise Unusable(f"{name} is a class; name a function, or an object that the file makes of the class")
    if not callable(function):
        raise Unusable(f"{name} is {_type(function)}; name a function")
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"{name} has no signature that can be read ({error}); wrap it in a function"
        ) from error
    if "solution_str" in names:
        return "verl"
    if "queries" in names:
        return "openrlhf"
    if names.keys() & {"completions", "completion_ids", "completions_ids"} and "completion" not in names:
        return "trl"
    if "completion" in names:
        return "menon"
    taken = ", ".join(str(parameter) for parameter in names.values())
    raise Unusable(
        f"{name} takes ({taken}), which is none of the signatures that can be called: "
        f"{'; '.join(SIGNATURES)}. "
        "Rename its parameters or wrap it"
    )


def judge(function: Callable[..., Any], shape: Shape, asked: Asked) -> Verdict:
    try:
        result = function(**arguments(function, shape, asked))
        if inspect.isawaitable(result):
            result = asyncio.run(_wait(result))
        return read(result, shape)
    except Unusable as error:
        return failed(str(error), caller_of(function))
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # sys.exit and some libraries' timeouts are no Exception; a run must survive them
        hint = about_messages(error, shape, asked)
        return failed(f"raised {describe(error, file_of(function))}{hint}", caller_of(function))


def about_messages(error: BaseException, shape: Shape, asked: Asked) -> str:
    """What a function of TRL should know that takes texts for chat messages, or the other way round."""
    if shape != "trl" or not isinstance(error, TypeError | AttributeError):
        return ""
    if isinstance(asked.columns.get("question"), list):
        wrong = "'list' object" in str(error) or "list indices" in str(error) or "got 'list'" in str(error)
        how = "chat messages here, and so is every completion; its text is completion[0]['content']"
    else:
        wrong = "string ind" in str(error) or "'str' object has no attribute 'get'" in str(error)
        how = "texts here, and so is every completion; read it as it is, without [0]['content']"
    return f": the questions are {how}" if wrong else ""


def failed(error: str, who: str = "the reward function") -> Verdict:
    """A NaN verdict that says what was wrong with `who`."""
    return Verdict(math.nan, math.nan, error=f"{who} {error}")


def caller_of(function: Callable[..., Any]) -> str:
    """What a message calls the function: a method of the user's own task by its name."""
    owner = getattr(function, "__self__", None)
    if not inspect.ismethod(function) or not is_own(owner):
        return "the reward function"
    return f"{function.__name__} of {label(owner)}"


def arguments(function: Callable[..., Any], shape: Shape, asked: Asked) -> dict[str, Any]:
    """The arguments that the function takes; all that there are if it takes keywords of any name."""
    given = GIVEN[shape](asked)
    required, optional, takes_all = _parameters(function)
    if asked.answer is not None:
        gold = asked.answer if shape == "menon" else [asked.answer]
        given = {name: gold for name in GOLD if name in required} | given
    if missing := sorted(required - given.keys()):
        raise Unusable(
            f"needs {', '.join(map(repr, missing))}, and there is only {', '.join(sorted(given))}; take the "
            "parameter out, or give it a default"
        )
    return (
        given if takes_all else {name: value for name, value in given.items() if name in required | optional}
    )


@lru_cache
def _parameters(function: Callable[..., Any]) -> tuple[frozenset[str], frozenset[str], bool]:
    """Names that must be given, names that may be given, and whether any other may be given too."""
    every = inspect.signature(function).parameters.values()
    named = [p for p in every if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = frozenset(p.name for p in named if p.default is p.empty)
    return required, frozenset(p.name for p in named) - required, any(p.kind is p.VAR_KEYWORD for p in every)


def _menon(asked: Asked) -> dict[str, Any]:
    own = {"finish": asked.finish, "completion_ids": asked.completion_ids}
    return {
        **asked.columns,
        **own,
        "prompt": asked.prompt,
        "completion": asked.completion,
        "answer": asked.answer,
    }


def _trl(asked: Asked) -> dict[str, Any]:
    """TRL's arguments: strings, or messages if the row's question is a list of messages."""
    question = asked.columns.get("question")
    chat = isinstance(question, list)
    ids = [asked.completion_ids]
    return {name: [value] for name, value in asked.columns.items()} | {
        "answer": [asked.answer],
        "prompts": [question if chat else asked.prompt],
        "completions": [[{"role": "assistant", "content": asked.completion}] if chat else asked.completion],
        "completion_ids": ids,
        "completions_ids": ids,  # as some of its documentation spells it
    }


def _verl(asked: Asked) -> dict[str, Any]:
    columns = dict(asked.columns)
    return {
        "data_source": columns.get("data_source", ""),
        "solution_str": asked.completion,
        "ground_truth": asked.answer,
        "extra_info": columns.get("extra_info", columns),
    }


def _openrlhf(asked: Asked) -> dict[str, Any]:
    return {"queries": [asked.prompt + asked.completion], "prompts": [asked.prompt], "labels": [asked.answer]}


GIVEN: dict[Shape, Callable[[Asked], dict[str, Any]]] = {
    "menon": _menon,
    "trl": _trl,
    "verl": _verl,
    "openrlhf": _openrlhf,
}


def read(result: Any, shape: Shape) -> Verdict:
    """The verdict of a function's result. `acc` is what the function returns for it ("acc", or OpenRLHF's
    "scores" from 0 to 1); else it is guessed (`verdict`). None in the list of a function of TRL says that it
    does not apply to the row."""
    if isinstance(result, Verdict):
        if result.error or not result.applies:
            return result
        graded = verdict(result.score, None if math.isnan(result.acc) else result.acc, result.parts)
        return replace(graded, acc=result.acc, guessed=result.guessed, feedback=result.feedback)
    if shape == "openrlhf" and isinstance(result, Mapping):
        score, acc = one(entry(result, "rewards")), one(result.get("scores", [None]))
        between = isinstance(acc, bool | int | float) and 0 <= acc <= 1
        return verdict(score, acc if between else None, result.get("extra_logs") or {})
    if shape == "trl":
        value = one(result)
        return NOT_APPLICABLE if value is None else verdict(value)
    if shape == "openrlhf":
        return verdict(one(result))
    if isinstance(result, Mapping):
        parts = {name: value for name, value in result.items() if name not in ("score", "acc")}
        graded = verdict(entry(result, "score"), result.get("acc"), parts)
        said = result.get("feedback")
        return replace(graded, feedback=said) if isinstance(said, str) else graded
    return verdict(result)


def entry(result: Mapping[str, Any], name: str) -> Any:
    if name not in result:
        raise Unusable(
            f"returned a dict without '{name}' (it has {', '.join(map(repr, result)) or 'nothing'})"
        )
    return result[name]


def verdict(score: Any, acc: Any = None, parts: Mapping[str, Any] | None = None) -> Verdict:
    """The verdict of a score. Without an `acc`, a score of exactly 0 or 1 (a bool, too) may be one, and any
    other number says nothing of correctness: its author alone knows what a right answer earns."""
    value = score_number(score)
    if acc is None:
        correct = value if value in (0, 1) else math.nan
    else:
        correct = score_number(acc, "an acc of ")
        if not 0 <= correct <= 1:
            raise Unusable(f"returned an acc of {correct:g}; it must be from 0 to 1")
    numbers = {
        str(name): float(part) for name, part in (parts or {}).items() if isinstance(part, bool | int | float)
    }
    return Verdict(value, correct, numbers, guessed=acc is None)


def score_number(value: Any, what: str = "") -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):
        kind = "None" if value is None else _type(value)
        raise Unusable(f"returned {what}{kind} instead of a number") from None
    if not math.isfinite(number):
        kind = "NaN" if math.isnan(number) else str(number)
        raise Unusable(f"returned {what}{kind} instead of a finite number")
    return number


def one(values: Any) -> Any:
    """The only element of a list, tuple, array or tensor."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list | tuple):
        raise Unusable(f"returned {_type(values)} instead of a list with one number per answer")
    if len(values) != 1:
        raise Unusable(f"returned {len(values)} numbers for 1 answer")
    return values[0]


def file_of(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code else ""


def _type(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


async def _wait(result: Any) -> Any:
    return await result
