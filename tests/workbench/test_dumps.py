"""Dumps of other libraries among the folders of the workbench, and what an imported run cannot show."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.cli import main
from menon.workbench import dumps
from menon.workbench.app import create
from menon.workbench.peers import importing
from menon.workbench.peers.importing import kinds_of, peers_of
from menon.workbench.runs import Runs
from workbench_page import chromium, page_at, picture, served, wide

DATA = Path(__file__).parents[1] / "data" / "peers"
NAMES = sorted(path.name for path in DATA.iterdir() if path.is_dir())


def listed(*folders):
    client = TestClient(create(Runs(folders)), base_url="http://127.0.0.1:1")
    return client.get("/api/runs").json()


@pytest.mark.parametrize("name", NAMES)
def test_a_dump_is_named_as_the_importer_names_it(name):
    """By the beginning of a file alone."""
    assert kinds_of(DATA / name) == tuple(peer.kind for peer in peers_of(DATA / name))
    (line,) = listed(DATA / name)
    kinds = " and ".join(kinds_of(DATA / name))
    assert (line["name"], line["state"]) == (name, "dump")
    assert line["error"] == (
        f"a dump of {kinds}: `menon import {DATA / name} out=runs/{name}` writes it as a run, which the "
        "workbench then opens"
    )


def test_a_pickle_is_named_without_torch(monkeypatch):
    monkeypatch.setattr(importing.slime, "load", None)
    assert kinds_of(DATA / "slime") == ("slime",)


def test_dumps_stand_beside_runs(folder, tmp_path):
    """In a folder of both, under names of their own; other folders and the parts of a run are not named."""
    shutil.copytree(folder / "one", tmp_path / "one")
    shutil.copytree(DATA / "verl", tmp_path / "theirs")
    shutil.copytree(DATA / "wandb", tmp_path / "tracked")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.jsonl").write_text("no JSON\n")
    lines = {line["name"]: line.get("error", "")[:17] for line in listed(tmp_path)}
    assert lines == {"one": "", "theirs": "a dump of verl: `", "tracked": "a dump of Weights"}
    assert [line["name"] for line in listed(tmp_path / "one")] == ["one"]
    assert [line["name"] for line in listed(tmp_path, DATA / "verl", DATA / "trl")][-2:] == ["verl", "trl"]


def test_answers_and_numbers_of_one_folder_are_named_together(tmp_path):
    shutil.copytree(DATA / "trl", tmp_path / "output")
    shutil.copytree(DATA / "tensorboard", tmp_path / "output" / "runs" / "Jul01")
    assert kinds_of(tmp_path / "output") == ("TRL", "TensorBoard")
    assert [line["name"] for line in listed(tmp_path / "output")] == ["output"]


def test_a_folder_is_looked_into_again_when_it_changes(tmp_path):
    assert listed(tmp_path) == []
    shutil.copytree(DATA / "verl", tmp_path / "theirs")
    assert [line["name"] for line in listed(tmp_path)] == ["theirs"]


def test_folders_that_take_long_wait_for_the_next_list(tmp_path, monkeypatch):
    for name in ("a", "b"):
        shutil.copytree(DATA / "verl", tmp_path / name)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    monkeypatch.setattr(dumps, "SECONDS", -1)
    found, runs = dumps.Dumps(), Runs([tmp_path])
    assert found.lines(runs, ()) == []
    monkeypatch.setattr(dumps, "SECONDS", 60)
    assert [line["name"] for line in found.lines(runs, ("a",))] == ["a~", "b"]
    monkeypatch.setattr(dumps, "SECONDS", -1)
    assert [line["name"] for line in found.lines(runs, ())] == ["a", "b"]


@pytest.fixture
def imported(tmp_path, capsys):
    """A folder with an imported run and a dump."""
    assert main(["import", str(DATA / "verl"), f"out={tmp_path / 'theirs'}"]) == 0
    shutil.copytree(DATA / "slime", tmp_path / "dump")
    capsys.readouterr()
    return tmp_path


def test_an_imported_run_says_why_it_cannot_be_replayed(imported, capsys):
    path = imported / "theirs"
    assert main(["replay", str(path), "step=1", "kl_cov"]) == 2
    said = (
        f"{path} was imported from verl, whose dump does not say which credit, loss, aggregation and "
        "mini-batches the training used, so there is nothing to replay; name a run that menon trained, with "
        "record=full"
    )
    assert capsys.readouterr().err == f"menon: {said}\n"
    client = TestClient(create(Runs([imported])), base_url="http://127.0.0.1:1")
    answer = client.get("/api/run/theirs/step/1/replay", params={"recipe": "kl_cov"})
    assert (answer.status_code, answer.json()["error"]) == (400, said)
    (sentence,) = [one for one in client.get("/api/run/theirs").json()["missing"] if "imported" in one]
    assert sentence.startswith("imported from verl; it lacks tokens and everything about them, ")
    assert sentence.endswith("; its steps cannot be replayed")


def test_the_pages(imported):
    with served(create(Runs([imported]))) as address, chromium() as browser:
        for width, scheme in ((1200, "light"), (390, "dark")):
            with page_at(browser, f"{address}/#/", width, scheme) as page:
                row = page.locator("tbody tr", has_text="dump of slime")
                assert f"menon import {imported / 'dump'} out=runs/dump" in row.inner_text()
                assert row.locator("input").is_disabled()
                assert not wide(page)
                picture(page, f"dumps-{scheme}")
                page.get_by_role("link", name="theirs", exact=True).click()
                page.wait_for_selector(".facts")
                assert "its steps cannot be replayed" in page.locator("main").inner_text()
                links = page.locator("nav[aria-label='Pages of this run'] a").all_inner_texts()
                assert links == ["its answers", "tokens of step 2", "a group of step 2"]
                assert not wide(page)
                picture(page, f"imported-{scheme}")
