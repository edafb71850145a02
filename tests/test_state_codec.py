import json
import math

import numpy as np
import pytest
import torch

from menon.state_codec import decode, encode


def there_and_back(value):
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(encode(value, tensors), allow_nan=False)
    return decode(json.loads(text), tensors)


def test_plain_values_come_back_with_their_types():
    value = {
        "count": 3,
        "big": 2**100,
        "third": 1 / 3,
        "flag": True,
        "none": None,
        "text": "a\x00é$",
        "nested": {"list": [1, (2, 3.5), {"x": ()}], "empty": {}},
        "infinite": [math.inf, -math.inf],
        "minus_zero": -0.0,
    }
    back = there_and_back(value)
    assert back == value
    assert math.copysign(1, back["minus_zero"]) == -1
    assert isinstance(back["nested"]["list"][1], tuple)
    assert isinstance(back["flag"], bool)
    assert math.isnan(there_and_back(math.nan))


def test_keys_that_json_or_the_encoding_would_change():
    value = {1: "int", "1": "str", (0, "a"): 2.0, "$tensor": 5}
    back = there_and_back({"odd": value, "marked": {"$tuple": [1]}})
    assert back == {"odd": value, "marked": {"$tuple": [1]}}


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8]
)
def test_tensors_bit_for_bit(dtype: torch.dtype):
    tensor = torch.tensor([[0.0, -0.0, 1.5], [2.25, 0.1, 7.0]]).to(dtype)
    back = there_and_back({"a": tensor, "b": tensor.T, "c": torch.tensor(3).to(dtype)})
    assert back["a"].dtype == dtype
    assert torch.equal(back["a"].view(torch.uint8), tensor.view(torch.uint8))
    assert torch.equal(back["b"], tensor.T)
    assert back["c"].shape == ()


def test_tensors_whose_paths_read_the_same_stay_apart():
    back = there_and_back(
        {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, "x": {1: torch.tensor(3), "1": torch.tensor(4)}}
    )
    assert (int(back["a.b"]), int(back["a"]["b"]), int(back["x"][1]), int(back["x"]["1"])) == (1, 2, 3, 4)


def test_arrays_and_random_state():
    generator = np.random.Generator(np.random.Philox(5))
    state = generator.bit_generator.state
    expected = generator.random(3)
    generator.bit_generator.state = there_and_back(state)
    assert generator.random(3).tolist() == expected.tolist()
    back = there_and_back({"row": np.array([1, 2], dtype=np.int32), "one": np.int64(7)})
    assert back["row"].dtype == np.int32
    assert back["one"] == 7


def test_anything_else_is_refused_by_its_place():
    with pytest.raises(TypeError, match=r"state\.memory\.0 is a set"):
        encode({"memory": [{1, 2}]}, {})
