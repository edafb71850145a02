"""Each smaller level of the sandbox, run in a child that has the layer taken away
(support/without_layers.py): what it still refuses, and that it is refused itself until it is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attacks import SCRIPTS
from menon.sandbox.layers import layers

HERE = Path(__file__).parent
WITHOUT = str(HERE.parent / "support" / "without_layers.py")

BY_THE_FILTER = (
    "open_a_socket",
    "open_a_datagram_pair",
    "fork",
    "start_a_shell",
    "spawn",
    "limit_the_parent",
    "signal_by_a_descriptor",
    "leave_the_session",
    "unnamed_memory_file",
    "change_the_mode_of_a_file",
    "truncate_by_reading",
    "raw_unshare",
    "raw_keyring",
    "raw_process_vm",
)
BY_FILE_RULES = (
    "read_passwd",
    "list_root",
    "list_tmp",
    "list_processes",
    "read_own_memory_map",
    "read_through_a_link",
    "write_beside_its_directory",
    "start_a_shell",
    "spawn",
)
BY_LIMITS = (
    "read_grader_environment",
    "raise_its_own_limits",
    "become_another_user",
    "raw_ptrace",
    "write_beside_its_directory",
    "prints_without_end",
    "big_files",
    "shared_memory_bomb",
)
LEVELS = {
    "landlock": ("without_landlock", BY_THE_FILTER + BY_LIMITS),
    "seccomp": ("without_seccomp", BY_FILE_RULES + BY_LIMITS),
    "landlock,seccomp": ("limits_only", BY_LIMITS),
    "namespaces,mounts": ("full", BY_THE_FILTER + BY_FILE_RULES + BY_LIMITS),
}
"""Layers that are taken away -> the level that is left, and the attacks that it must still refuse."""


def child(taken: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, WITHOUT, taken, sys.executable, "-m", "menon", *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def kinds() -> list[dict]:
    """Cases that hold at every level, those that take long left out."""
    cases = [json.loads(line) for line in (HERE / "kinds.jsonl").read_text().splitlines()]
    disk = {"deep files", "open and never named", "held by raw mappings", "deep inodes", "a data base"}
    return [
        case
        for case in cases
        for kind, _, name in [case["id"].partition(": ")]
        if kind == "files of the test" or (kind == "disk" and name in disk)
    ]


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("taken", LEVELS)
def test_what_a_level_holds(taken, tmp_path):
    level, attacks = LEVELS[taken]
    script = {"tests": [{"input": "1 2\n", "output": "3\n"}], "expected": "fail", "hostile": True}
    accepted = ["sandbox", "memory", "timeout"]
    cases = [{**script, "id": name, "solution": SCRIPTS[name], "also_accepted": accepted} for name in attacks]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(map(json.dumps, cases + kinds())))
    said = child(taken, "check", "code", str(path), f"sandbox={level}")
    whole = len(cases + kinds())
    assert said.stdout.splitlines()[-1] == f"right={whole} of={whole} escapes=0", said.stdout
    missing = {"namespaces", "tmpfs"} if "mounts" in taken else set(taken.split(","))
    active = [name for name in layers().active if name not in missing]
    assert said.stdout.splitlines()[0] == f"sandbox: {' + '.join(active)}"


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("taken", [taken for taken, (level, _) in LEVELS.items() if level != "full"])
def test_a_level_must_be_named(taken, tmp_path):
    (tmp_path / "cases.jsonl").write_text('{"id": 1, "solution": "", "tests": [], "expected": "fail"}')
    said = child(taken, "check", "code", str(tmp_path / "cases.jsonl"))
    assert said.returncode == 2
    assert f"the sandbox lacks {taken.replace(',', ' and ')} here" in said.stderr
    assert f"accept less with sandbox={LEVELS[taken][0]}" in said.stderr
