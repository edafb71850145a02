"""Files of weights that are written again and again hold exactly what `safetensors` reads back."""

import pytest
import torch
from safetensors.torch import load_file

from menon.engines import piece_files
from menon.engines.piece_files import HEAD


def made(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (5, 7), "scalar": (), "empty": (0, 4), "large": (100,), "b": (3,), "ü" * 10: (2, 2)}
    found = {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return found | {"turned": torch.randn(4, 6, generator=generator).T, "half": found["a"].bfloat16()}


def read(tensors, folder):
    """What is read of each file while the next is not written yet, and the names in each file."""
    found, names = {}, []
    for file in piece_files.piece_files(iter(tensors.items()), folder):
        loaded = {name: tensor.clone() for name, tensor in load_file(file).items()}
        names.append(sorted(loaded))
        found |= loaded
    return found, names


def same(one, two):
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert (tensor.dtype, tensor.shape) == (two[name].dtype, two[name].shape)
        assert torch.equal(tensor, two[name])


def test_one_file(tmp_path):
    found, names = read(made(0), tmp_path)
    same(found, made(0))
    assert len(names) == 1


def test_pieces_of_at_most_so_many_bytes_and_a_larger_tensor_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(piece_files, "PIECE", 190)
    found, names = read(made(1), tmp_path)
    same(found, made(1))
    # 140 + 4 + 0 bytes; 400 alone; 12 + 16 + 96; 70 more do not fit
    assert names == [["a", "empty", "scalar"], ["large"], ["b", "turned", "ü" * 10], ["half"]]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "weights-0.safetensors",
        "weights-1.safetensors",
    ]


def test_a_file_is_overwritten_by_a_shorter_and_a_longer_one(tmp_path):
    for seed, count in ((2, 8), (3, 2), (4, 8)):
        tensors = dict(list(made(seed).items())[:count])
        same(read(tensors, tmp_path)[0], tensors)
        size = (tmp_path / "weights-0.safetensors").stat().st_size
        assert size == HEAD + sum(tensor.nbytes for tensor in tensors.values())


def test_more_names_than_a_head_holds(tmp_path):
    tensors = {f"{number}-{'layer.' * 40}": torch.ones(1) * number for number in range(300)}
    found, names = read(tensors, tmp_path)
    same(found, tensors)
    assert len(names) == 3  # 65,528 bytes hold 129 names of about 245 + 256


def test_nothing(tmp_path):
    assert read({}, tmp_path) == ({}, [])


def test_a_dtype_that_no_sampler_holds_is_an_error(tmp_path):
    with pytest.raises(KeyError):
        read({"a": torch.ones(2, dtype=torch.int8)}, tmp_path)
