"""`menon cluster`: what it runs on each host, and what it says of hosts that cannot start Ray."""

import os

import pytest

from menon.cli.cluster import cluster
from menon.errors import UserError

FAKE = """#!/bin/sh
if [ "$1" = - ]; then cat > "$LOG.$HOST.in"; exit ${TOKEN_CODE:-0}; fi
echo "$HOST $RAY_AUTH_MODE $*" >> "$LOG"
if [ "$HOST" = "$BAD" ]; then echo "$SAYS" >&2; exit 1; fi
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Words that run a program in place of Python, and say which host it is for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    program = tmp_path / "python"
    program.write_text(FAKE)
    program.chmod(0o755)
    return ["reach=env HOST={host}", f"python={program}"]


def test_the_first_host_is_the_head_and_the_others_join_it(host, tmp_path, capsys):
    assert cluster(["up", "one/10.0.0.1", "me@two", "cpus=2", "head_cpus=0", "port=7000", *host]) == 0
    same = "--disable-usage-stats"
    assert (tmp_path / "log").read_text().splitlines() == [
        "one token -m ray.scripts.scripts start --head --port=7000 --include-dashboard=false --num-cpus=0 "
        f"--node-ip-address=10.0.0.1 {same}",
        f"me@two token -m ray.scripts.scripts start --address=10.0.0.1:7000 --num-cpus=2 "
        f"--node-ip-address=two {same}",
    ]
    token = (tmp_path / ".ray" / "auth_token").read_text()
    assert os.stat(tmp_path / ".ray" / "auth_token").st_mode & 0o777 == 0o600
    assert len(token) == 64
    assert all(token in (tmp_path / f"log.{name}.in").read_text() for name in ("one", "me@two"))
    assert (
        "placement.address=10.0.0.1:7000 placement.interface=10.0.0.1 samplers=1" in capsys.readouterr().out
    )
    assert cluster(["down", "one", *host]) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1] == "one token -m ray.scripts.scripts stop"


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (
            "/x/python: No module named ray",
            r"^two has no Ray; install it by `env HOST=two .* pip install 'ray>=2\.52'`$",
        ),
        ("port 6379 is already in use", r"^something uses port 6379 of two"),
        ("the sky fell", r"^Ray did not start on two \(the sky fell\)"),
    ],
)
def test_a_host_that_cannot_is_named_with_what_to_do(host, monkeypatch, says, sentence):
    monkeypatch.setenv("BAD", "two")
    monkeypatch.setenv("SAYS", says)
    with pytest.raises(UserError, match=sentence):
        cluster(["up", "one", "two", *host])


def test_another_token_a_missing_command_and_wrong_words_are_refused(host, monkeypatch):
    for words, sentence in (
        (["up"], "say `menon cluster up HOST"),
        (["sideways", "one"], "say `menon cluster up HOST"),
        (["up", "one", "gpus=3"], "no setting 'gpus'"),
        (["up", "one", "reach=/not/there {host}"], "/not/there cannot be run"),
        (["up", "one", "reach=sh -c 'echo no route; exit 255'"], r"Ray did not start on one \(no route\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            cluster(words)
    monkeypatch.setenv("TOKEN_CODE", "79")
    with pytest.raises(UserError, match="one has another token in"):
        cluster(["up", "one", *host])
