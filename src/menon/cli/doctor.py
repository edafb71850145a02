"""`menon doctor`: what this machine has, and what is missing for what."""

import importlib.util
import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from menon import __version__, threads
from menon.cli.plain_json import json_alone, print_json
from menon.errors import UserError, pip_install

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pyarrow",
    "pydantic",
    "rich",
    "math-verify",
    "psutil",
)
EXTRAS = {
    "reasoning-gym": ("reasoning-gym",),
    "datasets": ("datasets",),
    "peft": ("peft",),
    "ray": ("ray",),
    "verifiers": ("verifiers",),
    "workbench": ("starlette", "uvicorn"),
    "trackers": ("tensorboard", "wandb"),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "eval": ("lm-eval", "nltk", "langdetect", "accelerate"),
    "bench": ("trl",),
    "docs": ("zensical", "mdformat", "mdformat-gfm"),
    "test": (
        *("pytest", "pytest-xdist", "ruff", "mypy", "types-PyYAML", "types-psutil", "playwright", "openai"),
        "menon",
    ),
}
"""Extra of the package -> the packages that it installs."""
GIB = 2**30


def doctor(words: Sequence[str] = ()) -> int:
    """Says what this machine has, and what is missing for what: packages, extras, threads, devices, memory,
    the sandbox. Exit code 0 if everything that rewards need is here. --json prints it as JSON and nothing
    else."""
    rest, alone = json_alone(words)
    if rest:
        raise UserError(f"menon doctor takes no settings; leave '{rest[0]}' out")
    if alone:
        return as_data()
    print(
        f"{'menon':<13}{__version__} on Python {platform.python_version()}, {platform.system()} "
        f"{platform.release()}"
    )
    machine = [
        f"threads      {thread_line()}",
        f"device       {device()}",
        f"memory       {memory()}",
        f"disk         {disk_line()}",
    ]
    for line in (*versions(), *extras(), *machine):
        print(line)
    good = True
    for line, fine in sandbox():
        print(line)
        good &= fine
    return 0 if good else 1


def as_data() -> int:
    """Prints the same as JSON; gives the exit code."""
    states = list(sandbox())
    good = all(fine for _, fine in states)
    missing = {
        extra: [package for package in packages if version_of(package) is None]
        for extra, packages in EXTRAS.items()
    }
    print_json(
        {
            "menon": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "packages": {name: version_of(name) for name in PACKAGES},
            "extras_lack": missing,
            "threads": threads.choose({}).count,
            "device": device(),
            "memory": memory(),
            "disk": disk_line(),
            "sandbox": [line.split(maxsplit=1)[-1] for line, _ in states],
            "good": good,
        }
    )
    return 0 if good else 1


def versions() -> Iterator[str]:
    """Lines with the versions of the packages that menon depends on."""
    for name in PACKAGES:
        yield f"{name:<13}{version_of(name) or 'missing; install menon again with its dependencies'}"


def version_of(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def extras() -> Iterator[str]:
    """A line for each extra with the packages that are not installed."""
    for number, (extra, packages) in enumerate(EXTRAS.items()):
        missing = [package for package in packages if version_of(package) is None]
        state = f"lacks {', '.join(missing)}; {pip_install(extra)}" if missing else "complete"
        yield f"{'extras' if number == 0 else '':<13}{extra}: {state}"


def memory() -> str:
    """The free and total memory of this machine."""
    import psutil

    found = psutil.virtual_memory()
    return f"{found.available / GIB:.1f} GiB free of {found.total / GIB:.1f}"


def disk_line() -> str:
    """Free space of the disk on which runs are written unless out= names another place."""
    found = shutil.disk_usage(".")
    return f"{found.free / GIB:.1f} GiB free of {found.total / GIB:.1f} in {Path.cwd()}"


def thread_line() -> str:
    """The number of threads that a run would get, and why."""
    chosen = threads.choose({})
    return f"{threads.plural(chosen.count, 'thread')} ({chosen.reason})"


def device() -> str:
    """The devices that torch can use."""
    if importlib.util.find_spec("torch") is None:
        return "unknown without torch"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return ", ".join(
        f"cuda:{number} {found.name}, {found.total_memory / GIB:.0f} GiB"
        for number, found in enumerate(names)
    )


def sandbox() -> Iterator[tuple[str, bool]]:
    """Lines on the sandbox of code rewards, and whether each is as it should be."""
    from menon.sandbox.layers import LEVELS, NEEDS, layers

    try:
        here = layers()
    except UserError as error:
        yield f"sandbox      none: {error}", False
        return
    yield f"sandbox      {here}", True
    for name in here.missing:
        yield f"             no {name}: needs {NEEDS[name]}", name not in LEVELS["full"]
    level = next(name for name, needed in LEVELS.items() if set(needed) <= set(here.active))
    if level != "full":
        yield f"             code rewards refuse to start unless you accept this by sandbox={level}", False
