"""The small built-in base models: what they learnt from, their tokenizer, their recipes and their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"
"""An ordinary Hugging Face folder: `AutoModelForCausalLM.from_pretrained(WEIGHTS)`."""
SEARCH_WEIGHTS = Path(__file__).parent / "search_weights"

BASES = {"base": WEIGHTS, "search_base": SEARCH_WEIGHTS}
"""The folders of the built-in models, by their names in `model=`."""
BASE_OF_TASK = {"countdown": "search_base", "long_chain": "search_base"}
"""The base that has seen a task; `base` for every other."""


def default_model(settings: Mapping[str, Any]) -> str:
    """The model of a run that names none: the base that has seen its task.

    >>> default_model({"task": "countdown"}), default_model({"task": {"kind": "sorting"}}), default_model({})
    ('search_base', 'base', 'base')
    """
    from menon.settings import setting  # loads pydantic, and `menon --help` imports this module

    task = setting(settings, "task")
    kind = task.get("kind") if isinstance(task, Mapping) else task
    return BASE_OF_TASK.get(str(kind), "base")
