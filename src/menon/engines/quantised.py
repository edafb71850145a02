"""Recognises a folder with quantised weights from its files alone, before any library reads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from menon.engines.weight_files import header
from menon.errors import UserError

KEYS = ("quantization_config", "compression_config", "quantization")
"""Keys of config.json under which quantisers say what they did, at the top or in the part for text."""
FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Files that some of them write beside it."""
METHODS = ("quant_method", "quant_algo", "quantization_method", "mode")
NARROW = ("F8", "F6", "F4")
"""Beginnings of the dtypes of narrow floats in a safetensors file."""
INTEGERS = ("I8", "U8", "I32")
"""Dtypes of a matrix that holds several numbers in one, or one that is to be scaled."""
PACKED = (
    *("qweight", "qzeros", "weight_packed", "weight_scale", "weight_scale_inv", "weight_scales"),
    *("absmax", "quant_map", "SCB", "_blocks", "_scales"),
)
"""Ends of the names of tensors that only quantised weights have."""


def refuse_quantised(folder: Path, name: str) -> None:
    """UserError for a folder with quantised weights: a library would fail on them in its own way, or take
    their bits for numbers."""
    how = next(_signs(folder), None)
    if how is not None:
        raise UserError(
            f"the weights of {name} are quantised ({how}), and a model must be whole to be trained or "
            "sampled here; take the model that they were made from, in float32, float16 or bfloat16"
        )


def _signs(folder: Path) -> Iterator[str]:
    config = json_object(folder / "config.json")
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in KEYS:
            if given := part.get(key):
                yield _method(given) or key
    for beside in FILES:
        if given := json_object(folder / beside):
            yield _method(given.get("quantization", given)) or beside
    for file in sorted(folder.glob("*.safetensors")):
        for tensor, about in header(file)[1].items():
            dtype = str(about.get("dtype", ""))
            packed = tensor.endswith(PACKED) or (dtype in INTEGERS and tensor.endswith(".weight"))
            if packed or dtype.startswith(NARROW):
                yield f"the tensor {tensor}"


def _method(given: Any) -> str:
    """The name of the method, such as gptq; "" where it is not said."""
    if not isinstance(given, dict):
        return ""
    named = next((str(given[key]) for key in METHODS if given.get(key)), "")
    bits = next((given[key] for key in ("bits", "w_bit", "weight_bits") if given.get(key)), None)
    bits = next((size for size in (4, 8) if given.get(f"load_in_{size}bit")), bits)
    return ", ".join(part for part in (named, f"{bits} bits" if bits else "") if part)


def json_object(file: Path) -> dict[str, Any]:
    """A JSON object; {} for anything else, which is for others to complain of."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
