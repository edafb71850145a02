"""`menon doctor`: what this machine has, and what is missing for what."""

import importlib.util
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata

from menon import __version__
from menon.cli import threads
from menon.errors import UserError

PACKAGES = ("torch", "transformers", "numpy", "pyarrow", "pydantic", "math-verify")


def doctor(words: Sequence[str] = ()) -> int:
    """Prints it; the exit code is 0 if everything that rewards need is here."""
    if words:
        raise UserError(f"menon doctor takes no settings; leave '{words[0]}' out")
    print(f"menon      {__version__} on Python {platform.python_version()}, {platform.system()} {platform.release()}")
    for line in (*versions(), f"threads    {thread_line()}", f"device     {device()}"):
        print(line)
    good = True
    for line, fine in sandbox():
        print(line)
        good &= fine
    return 0 if good else 1


def versions() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name:<10} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name:<10} missing; install menon again with its dependencies"


def thread_line() -> str:
    chosen = threads.choose({})
    return f"{threads.plural(chosen.count, 'thread')} ({chosen.reason})"


def device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "unknown without torch"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return ", ".join(f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(torch.cuda.device_count()))


def sandbox() -> Iterator[tuple[str, bool]]:
    """Lines on the sandbox of code rewards, and whether each is as it should be."""
    from menon.sandbox.layers import LEVELS, NEEDS, layers

    try:
        here = layers()
    except UserError as error:
        yield f"sandbox    none: {error}", False
        return
    yield f"sandbox    {here}", True
    for name in here.missing:
        yield f"           no {name}: needs {NEEDS[name]}", name not in LEVELS["full"]
    level = next(name for name, needed in LEVELS.items() if set(needed) <= set(here.active))
    if level != "full":
        yield f"           code rewards refuse to start unless you accept this by sandbox={level}", False
