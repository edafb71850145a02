"""What the workbench says of tokens, trees, segments and turns, against the Parquet files."""

import base64
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.record.layout import step_file
from menon.record.spans import pieces_of
from menon.workbench.app import create
from menon.workbench.runs import Runs


def asked(folder, path):
    return TestClient(create(Runs([folder])), base_url="http://127.0.0.1:1").get(path).json()


def stored(folder, run, step, of="transcripts"):
    return pq.read_table(step_file(folder / run / of, step)).to_pylist()


def same(sent, expected):
    """Whether the numbers sent are the expected ones, null for NaN, to the digits of a float32."""
    sent = [math.nan if value is None else value for value in sent]
    np.testing.assert_allclose(sent, np.asarray(expected, dtype=float), rtol=1e-6, atol=1e-9, equal_nan=True)
    return True


def masked(acts, values):
    return np.where(acts, values, np.nan)


def columns(found):
    return {column["name"]: unpacked(column) for column in found["columns"]}


def unpacked(column):
    """The numbers of a column, as the page reads them."""
    if "runs" in column:
        return [value for value, count in column["runs"] for _ in range(count)]
    values = np.frombuffer(base64.b64decode(column["float32"]), "<f4")
    return [None if np.isnan(value) else float(value) for value in values]


@pytest.mark.parametrize("run", ["chain", "calculator"])
def test_columns_are_those_of_the_transcript(answered, run):
    for row in (0, 5):
        one = stored(answered, run, 2)[row]
        found = asked(answered, f"/api/run/{run}/step/2/answer/{row}")
        acts = np.array(one["is_action"])
        assert found["pieces"] == pieces_of(one["text"], one["text_start"])
        assert found["tokens"] == one["tokens"]
        assert found["is_action"] == acts.astype(int).tolist()
        assert found["begin"] == acts.argmax()
        sent = columns(found)
        assert same(sent["probability"], masked(acts, np.exp(one["behaviour_logp"])))
        assert same(sent["entropy"], masked(acts, one["entropy"]))
        assert same(sent["advantage"], masked(acts, one["advantage"]))
        assert same(
            sent["mismatch"], masked(acts, np.array(one["old_logp"]) - np.array(one["behaviour_logp"]))
        )
        if run == "chain":
            apart = np.array(one["ref_logp"]) - np.array(one["old_logp"])
            assert same(sent["kl"], masked(acts, np.expm1(apart) - apart))
            assert same(sent["state_value"], masked(acts, one["state_value"]))


def test_updates_are_those_of_the_record(answered):
    """Weights, moves, ratios, clips and pushes of an answer that the second update learned from."""
    records = stored(answered, "chain", 2, "updates")
    record = next(one for one in records if one["update"] == 1 and one["term"] == "policy")
    row = record["sequence"]
    one = stored(answered, "chain", 2)[row]
    sent = columns(asked(answered, f"/api/run/chain/step/2/answer/{row}"))
    acts = np.array(one["is_action"])
    before, after = np.array(record["logp_before"]), np.array(record["logp_after"])
    weight, advantage = np.array(record["weight"]), np.array(one["advantage"])
    assert same(sent["weight/policy/1"], np.where(acts, weight, np.nan))
    assert same(sent["selected/policy/1"], np.where(acts, weight != 0, np.nan))
    assert 0 < np.nansum(weight != 0) < acts.sum()  # the mask leaves some out
    assert same(sent["moved/1"], np.where(acts, after - before, np.nan))
    ratio = np.exp(before - np.array(one["old_logp"]))
    known = acts & ~np.isnan(ratio)
    assert known.any()
    sent_ratio = np.array([math.nan if value is None else value for value in sent["ratio/1"]])
    np.testing.assert_allclose(sent_ratio[known], ratio[known], rtol=1e-5)
    clipped = ((ratio > 1.2) & (advantage > 0)) | ((ratio < 0.8) & (advantage < 0))
    push = np.where(clipped, 0, weight * advantage * ratio)
    sent_push = np.array([math.nan if value is None else value for value in sent["push/1"]])
    np.testing.assert_allclose(sent_push[known], push[known], rtol=1e-5, atol=1e-9)
    assert any(name.startswith("weight/kl/") for name in sent)


def test_the_first_update_has_ratio_1(answered):
    records = stored(answered, "calculator", 1, "updates")
    row = next(one["sequence"] for one in records if one["update"] == 0)
    sent = columns(asked(answered, f"/api/run/calculator/step/1/answer/{row}"))
    assert {value for value in sent["ratio/0"] if value is not None} == {1.0}


def test_alternatives_are_those_of_the_sampler(answered):
    one = stored(answered, "calculator", 1)[1]
    found = asked(answered, "/api/run/calculator/step/1/answer/1/alternatives?begin=0")["tokens"]
    given = iter(zip(one["alternatives"], one["alternatives_logp"], strict=True))
    for acts, sent in zip(one["is_action"], found, strict=True):
        if not acts:
            assert sent is None
            continue
        tokens, logps = next(given)
        assert [alternative[0] for alternative in sent] == tokens
        assert same([alternative[2] for alternative in sent], logps)
        assert sent[0][1] == {10: "\n", 256: "<|endoftext|>"}.get(tokens[0], chr(tokens[0]))


def test_answers_of_evaluations(answered):
    """They are no rows of the step's training, so no update learned from them."""
    one = stored(answered, "chain", 2, "evaluations")[3]
    found = asked(answered, "/api/run/chain/step/2/answer/3?of=evaluation")
    assert not [name for name in columns(found) if "/" in name]
    assert (found["completion"], found["rows"]) == (one["completion"], 8)
    assert same(columns(found)["entropy"], np.where(one["is_action"], one["entropy"], np.nan))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/api/run/chain/step/1/answer/99", "step 1 of chain has 16 answers, and no answer 99"),
        ("/api/run/chain/step/9/answer/0", "it has 1 to 2"),
        ("/api/run/chain/step/1/tree/99", "step 1 of chain has no group 99; it has 0 to 3"),
        ("/api/run/gone/step/1/answer/0", "there is no run gone here"),
        ("/api/run/chain/step/1/answer/99/alternatives", "no answer 99"),
    ],
)
def test_what_is_not_there_is_named(answered, path, sentence):
    assert sentence in asked(answered, path)["error"]


def copied(folder, answered, rewrite):
    """A run with one step, which `rewrite` makes of the table of another run's."""
    (folder / "run" / "transcripts").mkdir(parents=True)
    (folder / "run" / "run.json").write_bytes((answered / "calculator" / "run.json").read_bytes())
    table = pq.read_table(step_file(answered / "calculator" / "transcripts", 1))
    pq.write_table(rewrite(table), step_file(folder / "run" / "transcripts", 1))
    return folder


def test_a_folder_of_format_1_shows_what_it_has(tmp_path, answered):
    lacking = [
        "text",
        "text_start",
        "alternatives",
        "alternatives_logp",
        "entropy",
        "graded_text",
        "age",
        "learn",
    ]
    folder = copied(tmp_path, answered, lambda table: table.drop_columns(lacking))
    found = asked(folder, "/api/run/run/step/1/answer/0")
    assert found["pieces"] is None
    assert "entropy" not in columns(found)
    assert any("format 1" in note for note in found["notes"])
    assert any("record=full" in note for note in found["notes"])
    assert "record=full" in asked(folder, "/api/run/run/step/1/answer/0/alternatives")["error"]
    assert asked(folder, "/api/run/run/answers")["total"] == 16
    assert asked(folder, "/api/run/run/step/1/tree/0")["kind"] == "turns"


def test_a_broken_file_has_a_sentence(tmp_path, answered):
    folder = copied(tmp_path, answered, lambda table: table)
    step_file(folder / "run" / "transcripts", 1).write_bytes(b"PAR1 half")
    for path in ("answer/0", "answer/0/alternatives", "tree/0"):
        assert "step_000001.parquet cannot be read" in asked(folder, f"/api/run/run/step/1/{path}")["error"]


def test_a_broken_record_of_updates_leaves_the_rest(tmp_path, answered):
    folder = copied(tmp_path, answered, lambda table: table)
    (folder / "run" / "updates").mkdir()
    step_file(folder / "run" / "updates", 1).write_bytes(b"PAR1 half")
    found = asked(folder, "/api/run/run/step/1/answer/0")
    assert "advantage" in columns(found)
    assert any(
        "What the updates did is left out: updates/step_000001.parquet cannot be read" in note
        for note in found["notes"]
    )


def test_a_tree_has_the_values_of_the_file(answered):
    rows = [(place, row) for place, row in enumerate(stored(answered, "tree", 2)) if row["group"] == 0]
    found = asked(answered, "/api/run/tree/step/2/tree/0")
    assert found["kind"] == "tree"
    values = [row["score"] for _, row in rows if row["parent"] == 0]
    assert len(values) == 4
    assert found["value"] == pytest.approx(np.mean(values))
    assert found["error"] == pytest.approx(np.std(values) / 2)
    assert len(found["nodes"]) == len(rows)
    completions = {row["node"]: row["completion"] for _, row in rows} | {0: ""}
    for node, (place, row) in zip(found["nodes"], rows, strict=True):
        assert (node["row"], node["node"], node["parent"]) == (place, row["node"], row["parent"])
        assert node["value"] == row["score"]
        assert node["error"] == (None if math.isnan(row["standard_error"]) else row["standard_error"])
        if row["parent"]:
            assert completions[row["parent"]] + node["text"] == row["completion"]
        learned = [value for value, act in zip(row["advantage"], row["is_action"], strict=True) if act]
        assert node["advantage"] == (pytest.approx(np.mean(learned)) if row["learn"] else None)


def test_edges_of_an_earlier_step_hang_from_the_prompt(tmp_path, answered):
    """A waiting edge comes without the nodes above it."""
    rows = stored(answered, "tree", 2)
    below = next(row for row in rows if row["depth"] == 2)
    table = pa.Table.from_pylist([below], pq.read_schema(step_file(answered / "tree" / "transcripts", 2)))
    folder = copied(tmp_path, answered, lambda _: table)
    found = asked(folder, f"/api/run/run/step/1/tree/{below['group']}")
    assert (found["nodes"][0]["parent"], found["nodes"][0]["loose"]) == (0, True)
    assert found["value"] is None


def test_segments_have_the_values_of_the_file(answered):
    rows = stored(answered, "chain", 2)
    found = asked(answered, "/api/run/chain/step/2/tree/1")
    assert found["kind"] == "segments"
    several = 0
    for answer in found["answers"]:
        row = rows[answer["row"]]
        cuts = [
            t for t, value in enumerate(row["state_value"]) if row["is_action"][t] and not math.isnan(value)
        ]
        valued = [one for one in answer["segments"] if one["value"] is not None]
        assert [one["begin"] for one in valued] == cuts
        for one in valued:
            t = one["begin"]
            assert one["value"] == pytest.approx(row["state_value"][t])
            assert one["error"] == pytest.approx(row["state_std"][t] / 3, abs=1e-7)  # of nine new answers
            pieces = pieces_of(row["text"], row["text_start"])
            assert one["text"] == "".join(pieces[t : one["end"]])
            later = [cut for cut in cuts if cut > t]
            end = row["state_value"][later[0]] if later else sum(row["reward"])
            assert one["gain"] == pytest.approx(end - row["state_value"][t], abs=1e-6)
            own = row["advantage"][t : one["end"]]
            assert one["advantage"] == pytest.approx([min(own), max(own)])
        several += len(cuts) > 1
    assert several


def test_turns_have_the_texts_and_rewards_of_the_file(answered):
    rows = stored(answered, "calculator", 2)
    found = asked(answered, "/api/run/calculator/step/2/tree/0")
    assert found["kind"] == "turns"
    for answer in found["answers"]:
        row = rows[answer["row"]]
        begin = row["is_action"].index(True)
        assert "".join(turn["text"] for turn in answer["turns"]) == row["text"][row["text_start"][begin] :]
        for turn in answer["turns"]:
            span = slice(turn["begin"], turn["begin"] + turn["length"])
            assert set(row["is_action"][span]) == {turn["by"] == "policy"}
            assert turn["reward"] == pytest.approx(sum(row["reward"][span]))
