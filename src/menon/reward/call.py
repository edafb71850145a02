"""The user's own reward: one plain function."""

import sys
from collections.abc import Callable
from typing import Any

from menon.errors import UserError
from menon.reward.code.signatures import Asked
from menon.reward.isolate import InProcess, InThread, Isolated
from menon.types import Verdict
from menon.user_code import reference_of


class UserReward:
    """Calls `f(prompt, completion, answer, **columns)`, or a function written for TRL, verl or OpenRLHF as it
    is.

    Parameters: `function` is a name, `file.py:function` or `package.module:function`, or the function itself;
    `time_limit` is in seconds per answer. A function that can be imported by name runs in a separate process,
    which is killed and replaced when it hangs or dies; changes that the running program makes to the
    function's module have no effect there. Any other function (a lambda, a closure, one of a notebook) runs
    in a thread: the limit holds, but a thread that hangs keeps running and keeps its core.

    A function that raises, takes too long, or returns NaN, infinity, None, another type or another number of
    rewards than one gives a NaN verdict whose `error` says so. [None] of a function of TRL says that it does
    not apply to the row, which is no failure. UserError at construction: no such function, or another
    signature.

    `acc` is "acc" of a dict, "scores" of OpenRLHF's dict, or that of a Verdict. A bool, or a number that is 0
    or 1 in every answer, is taken for it; for other numbers it is unknown (`menon.truth`). A function of TRL
    that compares the answers of a group cannot work here: it sees one answer at a time.
    """

    def __init__(self, function: str | Callable[..., Any], time_limit: float = 10.0) -> None:
        if not time_limit > 0:
            raise UserError(f"the reward's time_limit is {time_limit} s; it must be positive")
        self.time_limit = time_limit
        name = function if isinstance(function, str) else importable_name(function)
        self.isolated: Isolated = InProcess(name) if name else InThread(_callable(function))

    def __call__(
        self,
        prompt: str,
        completion: str,
        answer: str,
        finish: str = "stop",
        completion_ids: Any = (),
        **columns: Any,
    ) -> Verdict:
        ids = [int(token) for token in completion_ids]
        return self.isolated.ask(Asked(prompt, completion, answer, columns, finish, ids), self.time_limit)

    def close(self) -> None:
        self.isolated.close()

    def __enter__(self) -> "UserReward":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def importable_name(function: Callable[..., Any]) -> str:
    """The name by which another process can import the function, or "" if there is none. A function of the
    main program has none, because importing it would run that program again."""
    module = sys.modules.get(getattr(function, "__module__", ""))
    name = getattr(function, "__qualname__", "")
    if module is None or module.__name__ == "__main__" or getattr(module, name, None) is not function:
        return ""
    return reference_of(function) if getattr(module, "__file__", None) else ""


def _callable(function: Any) -> Callable[..., Any]:
    if not callable(function):
        raise UserError(f"reward: {function!r} is no function; give one, or its name as file.py:function")
    return function
