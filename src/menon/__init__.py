"""Menon: reinforcement learning with verifiable rewards on language models."""

from menon.python import compare, evaluate, metrics, posterior, runs, train

__version__ = "0.1.0"
__all__ = ["compare", "evaluate", "metrics", "posterior", "runs", "train"]
