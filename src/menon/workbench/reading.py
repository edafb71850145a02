"""Files that may be damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menon.errors import UserError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Makes one sentence of what a reader raises on a damaged file, or on one whose columns are of another
    kind than a run's."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError) as error:
        raise UserError(unreadable(path, error)) from error


def unreadable(path: Path, error: Exception) -> str:
    """The sentence about a file that cannot be read."""
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{path.parent.name}/{path.name} cannot be read ({why[:200]})"
