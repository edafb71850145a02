"""Calls that judge many answers at once, by code that may fail in any way."""

from collections.abc import Callable, Sequence
from typing import Any

from menon.processes.deadline import Call, Late
from menon.user_code import describe


class NoReply(Exception):
    """The call failed. The message says how; it is the rest of a sentence that begins with the name of what
    was called."""


def ask(function: Callable[[Any], Any], items: Sequence[Any], limit: float) -> Sequence[Any]:
    """One result for each item. NoReply if the function raises, takes longer than `limit` seconds, or returns
    something else."""
    try:
        results = Call(function, list(items)).result(limit)
    except Late as late:
        raise NoReply(f"{late} for {len(items)} answers") from late
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # sys.exit and some libraries' timeouts are no Exception; a run must survive them
        raise NoReply(f"raised {describe(error)}") from error
    results = results.tolist() if hasattr(results, "tolist") else results
    if not isinstance(results, Sequence) or isinstance(results, str | bytes):
        raise NoReply(f"returned {type(results).__name__} instead of a list with one result per answer")
    if len(results) != len(items):
        raise NoReply(f"returned {len(results)} results for {len(items)} answers")
    return results
