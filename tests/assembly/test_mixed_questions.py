"""Questions of several kinds in one run, and a reward whose parts are for some of them only."""

import json

from menon.assembly.questions import questions
from menon.config import OnlineSource
from menon.reward.exact import ExactMatch
from menon.reward.rules import Mix, Weighted


def test_a_part_without_a_row_is_named(tmp_path):
    rows = [{"question": f"q{i}", "answer": "1", "kind": ("sum", "remark")[i % 2]} for i in range(20)]
    for name, some in (("both", rows), ("sums", rows[::2]), ("plain", [{**rows[0], "kind": None}, rows[1]])):
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    parts = {"sums": Weighted(ExactMatch(), only={"kind": "sum"}), "format": 1.0}

    def told(data: str, heldout: str | None = None) -> list[str]:
        found: list[str] = []
        files = [name and str(tmp_path / f"{name}.jsonl") for name in (data, heldout)]
        questions(OnlineSource(*files, reward=Mix(parts)), 0, found.append)
        return [sentence for sentence in found if "the part" in sentence]

    assert told("both") == told("sums") == told("plain", "both") == []
    assert told("plain") == [
        "the part sums of the reward judges no answer: it is only for kind=sum, which no question of "
        f"{tmp_path / 'plain.jsonl'} has; give the rows that column, or change reward.parts.sums.only"
    ]
