"""The lines of `menon explain ... gpus=N`: memory and time of a run on GPUs, by formula."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from menon.cli.configuration import wrapped
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.assembly.sizes import Gpu, Layout, Shape, Work

GPU = "h100"
WORDS = ("gpus", "gpu")
"""Names that belong to this page and not to a run."""


def asked_for(words: Sequence[str]) -> tuple[int, str] | None:
    """The number and the kind of GPUs that words such as gpus=8 ask for; None: they ask for none."""
    given = dict(word.split("=", 1) for word in words if word.partition("=")[0] in WORDS and "=" in word)
    if not given:
        return None
    count = given.get("gpus", "1")
    if not count.isascii() or not count.isdigit() or int(count) < 1:
        raise UserError(f"gpus is '{count}'; it counts GPUs, so give 1 or more")
    return int(count), given.get("gpu", GPU)


def shape_named(name: str) -> "Shape | None":
    """The shape of a published model by its name, or of a folder's; None: it is not known here."""
    from menon.assembly.models import model_name
    from menon.assembly.sizes import SHAPES, shape_of
    from menon.engines.hf_models import config_of

    if name in SHAPES:
        return SHAPES[name]
    path = Path(model_name(name)).expanduser()
    return shape_of(config_of(path, name), name) if (path / "config.json").is_file() else None


def on_gpus(shape: "Shape | None", simplest: "Layout", work: "Work", kind: str, width: int) -> Iterator[str]:
    """Whether and how the run fits, what each GPU holds, and how long a step takes."""
    from menon.assembly.sizes import GPUS, first_that_fits

    if kind not in GPUS:
        raise UserError(f"there is no formula for gpu={kind}; there are {', '.join(GPUS)}")
    gpu, count = GPUS[kind], simplest.gpus
    yield ""
    yield f"  on {count} x {gpu.name}, by formula (docs/sizes.md has every assumption)"
    if shape is None:
        yield "    unknown: name a folder, or one of the models in docs/sizes.md"
        return
    layout = first_that_fits(shape, simplest, work, gpu)
    if layout is None:
        yield from wrapped("    memory     ", too_large(shape, simplest, work, gpu), width)
        return
    yield from wrapped("    layout     ", layout_in_words(layout), width)
    yield from wrapped("    memory     ", memory_in_words(shape, layout, work, gpu), width)
    yield from wrapped("    a step     ", time_in_words(shape, layout, work, gpu), width)


def too_large(shape: "Shape", simplest: "Layout", work: "Work", gpu: "Gpu") -> str:
    """How far the smallest layout is from fitting."""
    from menon.assembly.sizes import GIB, Assumed, layouts, peak

    least = min(peak(shape, layout, work, gpu) for layout in layouts(simplest))
    room = gpu.memory * Assumed.usable
    return (
        f"does not fit: {least / GIB:,.0f} GiB on each at least, and {room / GIB:,.0f} can be used; take more"
    )


def layout_in_words(layout: "Layout") -> str:
    return (
        f"{layout.words()}, with dtype=bfloat16 checkpointing=true: {layout.slots} answers at a time and "
        f"{layout.tokens_per_forward:,} tokens a pass on each GPU"
    )


def memory_in_words(shape: "Shape", layout: "Layout", work: "Work", gpu: "Gpu") -> str:
    """The peak, and what holds it."""
    from menon.assembly.sizes import GIB, learner_bytes, peak, sampler_bytes, ways

    parts = learner_bytes(shape, layout) | sampler_bytes(shape, layout, work, ways(shape, gpu, layout.gpus))
    held = ", ".join(f"{name} {size / GIB:,.1f}" for name, size in parts.items() if size >= 0.05 * GIB)
    return f"{peak(shape, layout, work, gpu) / GIB:,.1f} GiB on each: {held}"


def time_in_words(shape: "Shape", layout: "Layout", work: "Work", gpu: "Gpu") -> str:
    """Seconds of a step, and tokens a second."""
    from menon.assembly.sizes import seconds

    parts = seconds(shape, layout, work, gpu)
    whole = sum(parts.values())
    spent = ", ".join(f"{name} {size:,.3g}" for name, size in parts.items())
    written = work.answers * work.length / whole / layout.gpus
    return f"{whole:,.3g} s: {spent}; {written:,.0f} tokens written a second for each GPU"
