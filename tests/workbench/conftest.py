"""Tiny runs that the tests of the workbench look at, each trained once."""

import pytest

from menon.python import train

SMALL = {"steps": 2, "prompts_per_step": 4, "samples_per_prompt": 4, "heldout": 8, "max_new_tokens": 12}


def trained(folder, name, recipe, **settings):
    """A run of two steps on one thread."""
    train(recipe, out=str(folder / name), seed=1, device="cpu", threads=1, **{**SMALL, **settings})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with one run of two steps."""
    path = tmp_path_factory.mktemp("runs")
    trained(path, "one", "grpo")
    return path


@pytest.fixture(scope="session")
def answered(tmp_path_factory):
    """A folder with runs that recorded everything: `chain` (values where segments begin), `tree` and
    `calculator` (turns)."""
    path = tmp_path_factory.mktemp("answered")
    full = {"record": "full", "max_new_tokens": 48}
    trained(path, "chain", "spo_chain", **full)
    tree = {"branching": [4, 3], "segment_tokens": [8]}
    trained(path, "tree", "spo_tree", **full, samples_per_prompt=1, rollout=tree)
    trained(path, "calculator", "calculator", **full)
    return path
