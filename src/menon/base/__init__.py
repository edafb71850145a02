"""The small built-in base model: what it learnt from, its tokenizer, its recipe and its weights."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""An ordinary Hugging Face folder: `AutoModelForCausalLM.from_pretrained(WEIGHTS)`."""
