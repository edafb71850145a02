"""Several threads grade at once where text is written beside the learner, and while it is evaluated."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from menon.reward.call import UserReward
from menon.reward.grade import grading_of
from menon.types import Prompt, no_tokens

OWN = """
def score(completion, **columns):
    return float(len(completion))
"""


def test_a_reward_in_a_process_is_asked_by_one_thread_at_a_time(tmp_path: Path):
    (tmp_path / "own.py").write_text(OWN)
    reward = UserReward(f"{tmp_path / 'own.py'}:score")
    grading = grading_of(reward)
    texts = ["x" * length for length in range(200)]
    prompt = Prompt(0, no_tokens(), "?")
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda text: grading.judge(prompt, text), texts))
    reward.close()
    assert [verdict.score for verdict in verdicts] == [float(len(text)) for text in texts]
