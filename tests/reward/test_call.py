import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.reward.call import UserReward, importable_name
from menon.reward.exact import same

MY = """
import math, os, sys, threading, time
from beside import right

def score(prompt, completion, answer, **columns):
    if completion == "raise":
        raise KeyError("no such unit")
    if completion == "hang":
        time.sleep(60)
    if completion == "spin":
        while True: pass
    if completion == "die":
        os._exit(3)
    if completion == "quit":
        sys.exit("bye")
    if completion == "pid":
        return os.getpid()
    if completion == "main":
        return threading.current_thread() is threading.main_thread()
    if completion == "noise":
        print("a print", flush=True)
        os.write(1, b"a write\\n")
        return input()
    if completion == "columns":
        ids, cut = sum(columns["completion_ids"]), columns["finish"] == "length"
        return {"score": columns["level"], "acc": 0, "ids": ids, "cut": cut}
    return right(completion, answer)

async def later(completions, **kwargs):
    return [0.5 for _ in completions]

def openrlhf(queries, prompts, labels):
    return [float("nan")]

class Klass: pass
def wrong(text): return 1
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "my.py").write_text(MY)
    (folder / "beside.py").write_text("def right(completion, answer):\n    return completion == answer\n")
    return folder / "my.py"


@pytest.fixture(scope="module")
def reward(file):
    with UserReward(f"{file}:score", time_limit=1) as reward:
        yield reward


def test_a_named_function_runs_in_a_process_of_its_own(reward):
    assert reward("3+4=", "7", "7").score == 1
    assert reward("3+4=", "8", "7").score == 0
    assert reward("3+4=", "pid", "7").score not in (os.getpid(), 0)
    assert reward("3+4=", "main", "7").score == 1


def test_columns_tokens_and_finish_arrive(reward):
    verdict = reward("3+4=", "columns", "7", finish="length", completion_ids=[1, 2], level=0.25)
    assert (verdict.score, verdict.acc, verdict.parts) == (0.25, 0, {"ids": 3, "cut": 1})


def test_any_text_survives_the_way(reward):
    for text in ("", "\n", "a\nb\r\u2028", "\x00", "\ud800", "🌍" * 10_000, '{"score": 9}'):
        assert reward("3+4=", text, text).score == 1


def test_prints_and_input_do_not_touch_the_conversation(reward):
    assert reward("3+4=", "noise", "7").error.startswith("the reward function raised EOFError")
    assert reward("3+4=", "7", "7").score == 1


@pytest.mark.parametrize(
    ("completion", "error"),
    [
        ("raise", "raised KeyError: 'no such unit' (my.py:7)"),
        ("quit", "raised SystemExit: bye (my.py:15)"),
        ("die", "ended its process (exit code 3)"),
    ],
)
def test_a_failure_is_a_nan_verdict_and_the_next_answer_is_graded(reward, completion, error):
    verdict = reward("3+4=", completion, "7")
    assert math.isnan(verdict.score)
    assert verdict.error == f"the reward function {error}"
    assert reward("3+4=", "7", "7").score == 1


def test_a_hang_costs_its_limit_and_no_other_answer(reward):
    before = reward("3+4=", "pid", "7").score
    answers = ["7", "hang", "7", "8", "spin", "7"]
    start = time.perf_counter()
    verdicts = [reward("3+4=", text, "7") for text in answers]
    took = time.perf_counter() - start
    assert [v.score for v in verdicts if not math.isnan(v.score)] == [1, 1, 0, 1]
    assert [v.error for v in verdicts if v.error] == ["the reward function took longer than 1 s"] * 2
    assert 2 <= took < 8  # two limits, and two new processes on a busy machine
    with pytest.raises(ProcessLookupError):
        os.kill(int(before), 0)


def test_async_and_other_signatures_by_name(file):
    with UserReward(f"{file}:later") as later:
        assert later("3+4=", "7", "7").score == 0.5
    with UserReward(f"{file}:openrlhf") as openrlhf:
        assert (
            openrlhf("3+4=", "7", "7").error == "the reward function returned NaN instead of a finite number"
        )


def test_what_cannot_be_called_is_refused_at_once(file, tmp_path):
    (tmp_path / "notes.txt").write_text("def f(completion): return 1.0")
    (tmp_path / "broken.py").write_text("import math\nmath.sqrt(-1)\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(2)\n")
    (tmp_path / "dies.py").write_text("import os\nos._exit(2)\n")
    for name, sentence in {
        f"{file}:wrong": (
            r"my.py:wrong takes \(text\), which is none of the signatures that can be called: f\(prompt,"
        ),
        f"{file}:Klass": "my.py:Klass is a class; name a function, or an object that",
        f"{file}:nothing": "my.py holds no 'nothing'",
        f"{tmp_path}/missing.py:f": "there is no file .*missing.py",
        f"{tmp_path}/broken.py:f": r"ValueError: .* \(broken.py:2\)",
        f"{tmp_path}/leaves.py:f": r"SystemExit: 2 \(leaves.py:2\)",
        f"{tmp_path}/dies.py:f": r"ended its process \(exit code 2\)",
        "no_such_package:f": "ModuleNotFoundError: No module named 'no_such_package'",
        f"{file}:score:twice": "does not name your own code; write file.py:name",
        f"{tmp_path}/notes.txt:f": r"notes\.txt is not a Python file; its name should end in \.py",
        "my_reward": "write file.py:name or package.module:name",
    }.items():
        with pytest.raises(UserError, match=f"^reward: .*{sentence}"):
            UserReward(name)
    with pytest.raises(UserError, match="time_limit is 0 s; it must be positive"):
        UserReward(f"{file}:score", time_limit=0)
    with pytest.raises(UserError, match="3 is no function"):
        UserReward(3)


def test_an_object_that_can_be_called_is_a_reward(tmp_path):
    (tmp_path / "of.py").write_text(
        "class Longer:\n    def __init__(self, least): self.least = least\n"
        "    def __call__(self, completion): return float(len(completion) >= self.least)\n"
        "longer = Longer(3)\n"
    )
    with UserReward(f"{tmp_path}/of.py:longer") as reward:
        assert [reward("q", text, "a").score for text in ("ab", "abc")] == [0.0, 1.0]


def test_functions_are_named_where_another_process_can_find_them():
    assert importable_name(same) == "menon.reward.exact:same"
    assert importable_name(lambda completion: 1.0) == ""
    assert importable_name(print) == ""


def test_a_lambda_runs_here_with_the_same_limit():
    with UserReward(
        lambda completion, answer: time.sleep(5) if completion == "hang" else completion == answer, 0.2
    ) as reward:
        start = time.perf_counter()
        verdicts = [reward("3+4=", text, "7") for text in ("7", "hang", "8", "7")]
        assert time.perf_counter() - start < 2
    assert [v.score for v in verdicts if not v.error] == [1, 0, 1]
    assert verdicts[1].error == "the reward function took longer than 0.2 s"
    with pytest.raises(UserError, match="none of the signatures"):
        UserReward(lambda text: 1.0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process states from /proc")
def test_an_unguarded_script_is_not_run_again_and_a_killed_run_leaves_no_process(file, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import os, time\n"
        "from menon.reward.call import UserReward\n"
        "print('started', flush=True)\n"
        f"reward = UserReward({str(file)!r} + ':score', time_limit=100)\n"
        "print(int(reward('', 'pid', '').score), flush=True)\n"
        "reward('', 'hang', '')\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"started\n"
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    assert run.stdout.read() == b""
    deadline = time.time() + 5
    while alive(worker) and time.time() < deadline:
        time.sleep(0.02)
    assert not alive(worker)


def alive(pid):
    """Running, and no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_worker_loads_no_torch(tmp_path):
    (tmp_path / "loaded.py").write_text(
        "import sys\ndef score(completion):\n    return 'torch' in sys.modules\n"
    )
    with UserReward(f"{tmp_path}/loaded.py:score") as reward:
        assert reward("", "", "").score == 0


def test_a_column_that_is_no_plain_data_is_named(reward):
    with pytest.raises(
        UserError, match=r"a column cannot be sent to the reward's process as JSON .*make it plain data"
    ):
        reward("3+4=", "7", "7", when=object())
    assert reward("3+4=", "7", "7", when=json.loads("[1]")).score == 1


def test_an_interrupt_does_not_give_its_verdict_to_the_next_answer(reward, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reward.isolated.worker.connection, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reward("3+4=", "7", "7")
    assert [reward("3+4=", text, "7").score for text in ("8", "7", "8")] == [0, 1, 0]


def test_an_interrupt_within_the_function_is_its_failure(tmp_path):
    source = "def score(completion):\n    if completion:\n        raise KeyboardInterrupt\n    return 1\n"
    (tmp_path / "stops.py").write_text(source)
    with UserReward(f"{tmp_path}/stops.py:score") as reward:
        assert reward("", "x", "").error == "the reward function raised KeyboardInterrupt (stops.py:3)"
        assert reward("", "", "").score == 1
