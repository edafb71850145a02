"""A step of ours against one of TRL 1.16: what both comparisons of this kind share in the driver."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from side_by_side.crew import AS_THE_COMMAND, Crew, Process
from side_by_side.report import Scan, Setting, alternate, dtypes, measure_with, thread_counts


def parser(description: str | None, cases: Sequence[str], quick: str) -> argparse.ArgumentParser:
    """The arguments of both; `quick` says what a look is made of."""
    asked = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument(
        "--trl-python", default=sys.executable, help="interpreter of an environment with trl 1.16"
    )
    asked.add_argument("--cases", nargs="+", choices=cases, help="only these")
    asked.add_argument("--repeats", type=int, default=3, help="turns of each side")
    asked.add_argument("--quick", action="store_true", help=f"{quick}: a look, no result")
    return asked


def ours(scan: Scan, module: str, start: Mapping[str, Any]) -> Setting:
    """Our fastest threads and dtype."""

    def setting(dtype: str, threads: int) -> Setting:
        process = Process(module, {**start, "dtype": dtype}, environment=AS_THE_COMMAND)
        return Setting(f"{threads} threads {dtype}", process, {"threads": threads})

    return scan([setting(dtype, threads) for dtype, threads in product(dtypes(), thread_counts())])


def trl(scan: Scan, setting: Callable[[str, int, int], Setting], micro: int) -> Setting:
    """TRL's fastest dtype and threads with `micro` rows in one forward pass, then with a quarter of them;
    `setting(dtype, micro, threads)`."""
    best = scan([setting(dtype, micro, threads) for dtype, threads in product(dtypes(), thread_counts())])
    return scan([setting(best.process.start["dtype"], micro // 4, best.request["threads"])])


def in_turns(
    crew: Crew,
    ours: Callable[[Scan], Setting],
    theirs: Callable[[Scan], Setting],
    form: str,
    repeats: int,
) -> tuple[dict[str, Setting], dict[str, list[float]]]:
    """Each side's best setting, and its seconds a step in `repeats` turns; `form` formats a time."""
    measure = measure_with(crew)
    scans = {side: Scan(side, measure, lambda seconds: f"{seconds:>7{form}} s") for side in ("menon", "trl")}
    best = {"menon": ours(scans["menon"])}
    crew.keep([])  # its memory is for TRL's settings
    best["trl"] = theirs(scans["trl"])
    crew.keep([best["trl"].process])
    measure(best["menon"])  # starts it again, and warms it up
    return best, alternate(best, measure, repeats)
