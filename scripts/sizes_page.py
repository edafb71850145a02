"""Writes the tables of docs/sizes.md from the formulas of `menon explain`.

python scripts/sizes_page.py
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from menon.assembly.derived import size_of_model
from menon.assembly.memory import Needs, own_process
from menon.assembly.run import configured
from menon.assembly.sizes import (
    GIB,
    GPUS,
    HALF,
    SHAPES,
    Assumed,
    Layout,
    Shape,
    Work,
    first_that_fits,
    layouts,
    learner_bytes,
    peak,
    sampler_bytes,
    seconds,
    ways,
)
from menon.docstrings import first_sentence
from menon.settings import override

PAGE = Path(__file__).parents[1] / "docs" / "sizes.md"
COUNTS = (1, 8, 64)
LARGE = ("0.5B", "7B", "32B", "235B-A22B")
WORK = Work()
ALONE = ("135M", "0.5B", "1.5B", "7B")
SMALL = Work(answers=128, prompt=128, length=512, longest=1024)
ON_LAPTOP = ("prompts_per_step=16", "samples_per_prompt=8", "max_new_tokens=256", "device=cpu")
LAPTOP = 12 * GIB
"""Bytes that a laptop of 16 GiB leaves."""
SAVING: Sequence[Sequence[str]] = ((), ("slots=32",), ("adapter.rank=32",), ("adapter.rank=32", "slots=32"))
"""Settings of a laptop from the simplest on; what each saves costs time, or trains less than all weights."""
Row = Sequence[str]
HEAD: Row = (
    *("model", "GPUs", "settings", "GiB on each", "of which"),
    "seconds: write, score, learn",
    "tokens/s each",
)


def models() -> list[Row]:
    rows: list[Row] = [
        (
            "model",
            "weights, B",
            "active, B",
            "KiB of keys and values a token",
            "weights of an adapter of rank 32, M",
        )
    ]
    for name, shape in SHAPES.items():
        rows.append(
            (
                f"`{name}`",
                f"{shape.parameters / 1e9:,.2f}",
                f"{shape.active / 1e9:,.2f}",
                f"{shape.kv * HALF / 1024:,.0f}",
                f"{shape.adapter(32) / 1e6:,.0f}",
            )
        )
    return rows


def gpus() -> list[Row]:
    rows: list[Row] = [
        ("gpu=", "memory, GB", "TFLOP/s in bfloat16", "TB/s", "GB/s to a GPU of the host, to another")
    ]
    for key, gpu in GPUS.items():
        links = f"{gpu.near / 1e9:,.0f}, {gpu.far / 1e9:,.0f}"
        speed = (f"{gpu.memory / 1e9:,.0f}", f"{gpu.flops / 1e12:,.0f}", f"{gpu.bandwidth / 1e12:,.2f}")
        rows.append((f"`{key}` ({gpu.name})", *speed, links))
    return rows


def assumptions() -> list[Row]:
    source = Path(sys.modules[Assumed.__module__].__file__ or "").read_text(encoding="utf-8")
    body = source.partition("class Assumed:")[2].partition("@dataclass")[0].split('"""')
    said = dict(zip((field.name for field in dataclasses.fields(Assumed)), body[3::2], strict=True))
    return [
        ("assumption", "value", "what it is"),
        *(
            (f"`{field.name}`", f"{field.default:g}", first_sentence(" ".join(said[field.name].split())))
            for field in dataclasses.fields(Assumed)
        ),
    ]


def fitting() -> list[Row]:
    """The simplest layout of each model on so many GPUs, what it holds and how long a step takes."""
    return [
        HEAD,
        *(
            row
            for shape in SHAPES.values()
            if shape.name in LARGE
            for count in COUNTS
            for row in of_model(shape, count, ("h100", "h200"), WORK)
        ),
    ]


def alone() -> list[Row]:
    """The same on one GPU, a small and a large one, for a smaller step."""
    return [
        HEAD,
        *(
            row
            for shape in SHAPES.values()
            if shape.name in ALONE
            for kind in ("rtx4090", "h200")
            for row in of_model(shape, 1, (kind,), SMALL)
        ),
    ]


def laptop() -> list[Row]:
    """On a laptop without a GPU, in float32: the first settings that fit, by `menon explain`'s memory."""
    rows: list[Row] = [("model", "settings", "GiB", "of which")]
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES.values():
            if shape.name in ALONE:
                rows.append((shape.name, *on_laptop(config_folder(shape, Path(folder)))))
    return rows


def on_laptop(model: Path) -> Row:
    """The settings with which a model fits, and the memory that it then takes."""
    for settings in SAVING:
        found = laptop_memory(model, settings)
        total = sum(found.values())
        if total <= LAPTOP:
            largest = sorted(found.items(), key=lambda part: -part[1])[:3]
            held = ", ".join(f"{name} {size / GIB:,.1f}" for name, size in largest)
            return (f"`{' '.join(settings)}`" if settings else "as it is", f"{total / GIB:,.1f}", held)
    return ("does not fit", f"{total / GIB:,.0f} or more", "")


def laptop_memory(model: Path, settings: Sequence[str]) -> dict[str, float]:
    """Bytes by what holds them, as `menon explain` says them on a machine with a thread."""
    size = size_of_model(str(model))
    assert size is not None
    changes = [dict([override(word)]) for word in (f"model={model}", *ON_LAPTOP, *settings)]
    return own_process(Needs.of(configured("grpo", changes, 1)), size)


def config_folder(shape: Shape, folder: Path) -> Path:
    """A folder with the config.json of a model of this shape."""
    place = folder / shape.name
    place.mkdir()
    about = {
        "model_type": "qwen2" if "Qwen" in next(key for key in SHAPES if SHAPES[key] is shape) else "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": 8192,
    }
    (place / "config.json").write_text(json.dumps(about))
    return place


def of_model(shape: Shape, count: int, kinds: Sequence[str], work: Work) -> list[Row]:
    """On the first of these GPUs on which it fits."""
    for kind in kinds:
        gpu = GPUS[kind]
        layout = first_that_fits(shape, Layout(count), work, gpu)
        if layout is None:
            continue
        parts = learner_bytes(shape, layout) | sampler_bytes(shape, layout, work, ways(shape, gpu, count))
        largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
        spent = seconds(shape, layout, work, gpu)
        each = ", ".join(f"{spent[name]:,.0f}" for name in ("write", "score", "learn"))
        return [
            (
                shape.name,
                f"{count} {kind.upper()}",
                f"`{layout.words()}`" if layout.words() != "as it is" else layout.words(),
                f"{peak(shape, layout, work, gpu) / GIB:,.1f}",
                ", ".join(f"{name} {size / GIB:,.1f}" for name, size in largest),
                f"{sum(spent.values()):,.0f}: {each}",
                f"{work.answers * work.length / sum(spent.values()) / count:,.0f}",
            )
        ]
    least = min(peak(shape, each, work, gpu) for each in layouts(Layout(count)))
    named = f"{count} {kinds[0].upper()}" if len(kinds) == 1 else str(count)
    return [(shape.name, named, "does not fit", f"{least / GIB:,.0f} or more", *[""] * 3)]


TABLES = {
    "models": models,
    "gpus": gpus,
    "assumptions": assumptions,
    "fitting": fitting,
    "alone": alone,
    "laptop": laptop,
}


def table(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " -- |" * len(rows[0]))
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with every table as the formulas give it now."""
    for name, rows in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table(rows())}\n\n{end}{rest.partition(end)[2]}"
    return page


def main() -> int:
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    command = [sys.executable, "-m", "mdformat", str(PAGE)]
    return subprocess.run(command, cwd=PAGE.parents[1], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
