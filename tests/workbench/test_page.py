"""The page in a browser, and who is let in."""

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.errors import UserError
from menon.workbench.app import create
from menon.workbench.guard import POLICY
from menon.workbench.runs import Runs
from workbench_page import chromium, page_at, picture, served, wide


def client(folder, token=None, **more):
    return TestClient(create(Runs([folder]), token), base_url="http://127.0.0.1:1", **more)


def test_the_runs_are_listed(folder):
    found = client(folder).get("/api/runs").json()
    assert [(run["name"], run["state"], run["steps"], run["recipe"]) for run in found] == [
        ("one", "finished", 2, "grpo")
    ]


def test_every_answer_has_a_strict_policy(folder):
    for path in ("/", "/api/runs", "/static/main.js", "/nothing"):
        assert client(folder).get(path).headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/runs", {"host": "evil.example"}),
        ("GET", "/api/runs", {"origin": "http://evil.example"}),
        ("POST", "/api/runs", {}),
        ("DELETE", "/", {}),
    ],
)
def test_others_are_refused(folder, method, path, headers):
    answer = client(folder).request(method, path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]


def test_a_token_is_asked_for_where_others_can_reach(folder):
    asked = client(folder, "secret", follow_redirects=False)
    assert asked.get("/api/runs").status_code == 403
    assert asked.get("/?token=wrong").status_code == 403
    assert asked.get("/?token=secret").status_code == 303
    assert asked.get("/api/runs").status_code == 200
    bare = client(folder, "secret")
    assert bare.get("/api/runs", headers={"authorization": "Bearer secret"}).status_code == 200


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"])
def test_nothing_outside_is_read(folder, path):
    assert client(folder).get(path).status_code == 404


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*gone; name run folders"):
        Runs([tmp_path / "gone"])


def test_the_page_lists_the_runs(folder):
    with served(create(Runs([folder]))) as address, chromium() as browser:
        for width, scheme in ((1200, "light"), (390, "dark")):
            with page_at(browser, f"{address}/", width, scheme) as page:
                assert page.locator("tbody a").first.inner_text() == "one"
                assert not wide(page)
                picture(page, f"listing-{scheme}")
