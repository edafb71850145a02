import numpy as np

from menon.engines.dealing import bare, deal
from menon.types import Prompt, Request, Sampling


def requests(samples: dict[int, int]) -> list[Request]:
    """`samples[i]` requests of the prompt of index i."""
    prompts = {
        i: Prompt(i, "a question", np.array([1, 2], np.int32), "7", {"topic": "sums"}) for i in samples
    }
    return [Request(prompts[i], Sampling(4), sample=k) for i, count in samples.items() for k in range(count)]


def names(parts: list[list[Request]]) -> list[list[tuple[int, int]]]:
    return [[(one.prompt.index, one.sample) for one in part] for part in parts]


def test_parts_are_of_equal_size_and_keep_prompts_together():
    assert names(deal(requests({0: 5, 1: 5, 2: 5}), 2, None)) == [
        [(0, k) for k in range(5)] + [(1, 0), (1, 1)],
        [(1, 2), (1, 3), (1, 4)] + [(2, k) for k in range(5)],
    ]
    assert names(deal(requests({0: 1}), 2, None)) == [[], [(0, 0)]]


def test_a_prompt_stays_with_its_part():
    lanes: dict[int, int] = {}
    assert names(deal(requests({0: 2, 1: 1, 2: 1}), 2, lanes)) == [[(0, 0), (0, 1)], [(1, 0), (2, 0)]]
    assert lanes == {0: 0, 1: 1, 2: 1}
    assert names(deal(requests({2: 2, 3: 1}), 2, lanes)) == [[(3, 0)], [(2, 0), (2, 1)]]


def test_what_another_process_need_not_know_is_left_out():
    asked = requests({0: 2})
    sent = bare(asked)
    assert [(one.prompt.text, one.prompt.answer, one.prompt.columns) for one in sent] == [("", None, {})] * 2
    assert sent[0].prompt is sent[1].prompt  # pickled once
    assert sent[0].prompt.tokens is asked[0].prompt.tokens
    assert asked[0].prompt.answer == "7"
