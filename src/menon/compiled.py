"""Functions that numba compiles."""

from types import FunctionType
from typing import Any

import numba


def compiled(function: Any, kind: str, signature: str | None = None, **options: Any) -> Any:
    """The function compiled for one kind of arguments, named by `kind`: at once for a signature, else at its
    first call. It needs no GIL, and is cached on disk if a folder is writable.

    Each kind has a name of its own: two processes that keep two signatures of one function at a time may
    leave an index on disk that mixes them up.
    """
    own = FunctionType(function.__code__, function.__globals__, function.__name__)
    own.__qualname__ = f"{function.__qualname__}_{kind}"
    try:
        return numba.njit(signature, nogil=True, cache=True, **options)(own)
    except RuntimeError:  # no folder for the cache is writable
        return numba.njit(signature, nogil=True, **options)(own)
