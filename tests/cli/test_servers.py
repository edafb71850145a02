"""The commands that serve a page or an API: their settings, and what they print."""

import re
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")
import uvicorn

from menon.cli import main
from menon.serve import model


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr("menon.cli.serve.use", lambda chosen, device: None)

    def load(name, names, device, slots):
        return SimpleNamespace(names=names or (name,), writer=SimpleNamespace(close=lambda: None))

    monkeypatch.setattr(model.Served, "load", staticmethod(load))


def test_workbench_takes_a_port(tmp_path, capsys):
    assert main(["workbench", str(tmp_path), "port=0"]) == 0
    assert re.match(r"menon workbench  http://127\.0\.0\.1:\d+/  ", capsys.readouterr().out)
    for wrong in ("port=70000", "port=x", "port=-1"):
        assert main(["workbench", str(tmp_path), wrong]) == 2


def test_serve_prints_its_address(capsys):
    assert main(["serve", "base", "names=[a,b]", "port=0"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"menon serve  a  http://127\.0\.0\.1:\d+/v1", out)
    assert "key" not in out


def test_serve_prints_a_key_where_others_can_reach_it(capsys):
    assert main(["serve", "base", "host=0.0.0.0"]) == 0
    out = capsys.readouterr().out
    key = re.search(r"  key  (\S{32})\n", out)[1]
    assert f"/?token={key}" in out


@pytest.mark.parametrize(
    "words", [[], ["a", "b"], ["base", "port=70000"], ["base", "slots=0"], ["base", "colour=red"]]
)
def test_serve_refuses_what_it_does_not_know(words, capsys):
    assert main(["serve", *words]) == 2
    assert capsys.readouterr().err.startswith("menon: ")
