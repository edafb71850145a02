"""What runs with a teacher need: folders of models, and a file of answers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from menon.engines.hf_models import export


def exported(made: Mapping[str, tuple[Any, Any]], tmp_path_factory: Any) -> dict[str, Path]:
    """The folders of models with their tokenizers, by name."""
    paths = {name: tmp_path_factory.mktemp(name) for name in made}
    for name, (model, tokenizer) in made.items():
        export(model, tokenizer, paths[name])
    return paths


def file_of_sums(folder: Path) -> Path:
    """Forty questions with their answers."""
    path = folder / "sums.jsonl"
    rows = [{"question": f"{i}+1=", "completion": f" {i + 1}"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
