"""Fingerprints of weights: equal fingerprints mean equal bits."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

COLUMNS = 2**14
SLAB, SLAB_ON_GPU = 2**2, 2**8
"""Rows of `COLUMNS` elements that are widened to 64 bits at once: few on a CPU, so that they stay in its
cache."""

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
"""Bytes of an element -> the integer type as which its bits are read (8 bytes as two integers)."""


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits that depend on every name, dtype, shape and bit, and on nothing else.  They do
    not depend on the order of the mapping, the device, or whether two names share one tensor.
    """
    return fingerprint_of({name: content(weight) for name, weight in weights.items()})


def content(weight: Tensor) -> tuple[str, tuple[int, ...], int]:
    """What a fingerprint reads of one tensor."""
    return str(weight.dtype), tuple(weight.shape), bit_sum(weight.detach())


def fingerprint_of(contents: Mapping[str, tuple[str, tuple[int, ...], int]]) -> str:
    """The fingerprint of weights whose contents were read one after the other."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(contents):
        digest.update(repr((name, *contents[name])).encode())
    return digest.hexdigest()


def bit_sum(weight: Tensor) -> int:
    """Sum over all elements of (bits as an integer) * (odd pseudo-random factor of its place), modulo 2^64.

    One changed number always changes the sum, because its factor is odd; swapped numbers change it except
    with a probability of at most 2^-32. Integer sums do not depend on the order, so every device gives the
    same.
    """
    flat = weight.contiguous().flatten()
    flat = (torch.view_as_real(flat).flatten() if flat.is_complex() else flat).view(BITS[flat.element_size()])
    rows = -(-flat.numel() // COLUMNS)
    column_factor, row_factor = factors(COLUMNS, 0, flat.device), factors(rows, 1, flat.device)
    compiled = compiled_sum() if flat.device.type == "cpu" else None
    return (compiled or sum_by_torch)(flat, column_factor, row_factor)


def sum_by_torch(flat: Tensor, column_factor: Tensor, row_factor: Tensor) -> int:
    """`bit_sum` of integers, on any device."""
    rows, columns = len(row_factor), len(column_factor)
    total, slab = 0, SLAB if flat.device.type == "cpu" else SLAB_ON_GPU
    for first in range(0, rows, slab):
        part = flat[first * columns : (first + slab) * columns]
        whole = part.numel() // columns
        sums = (part[: whole * columns].view(whole, columns) * column_factor).sum(1)
        rest = part[whole * columns :]
        sums = torch.cat([sums, (rest * column_factor[: len(rest)]).sum()[None]])[: rows - first]
        total += int((sums * row_factor[first : first + len(sums)]).sum())
    return total % 2**64


def compiled_sum() -> Callable[[Tensor, Tensor, Tensor], int] | None:
    """The same, compiled; None where numba is not installed, as it may not be beside another engine."""
    try:
        from menon.sync.bit_sum_kernel import bit_sum
    except ImportError:
        return None
    return bit_sum


@cache
def factors(count: int, salt: int, device: torch.device) -> Tensor:
    """[count] odd int64 numbers: SplitMix64 of the index (Steele, Lea, Flood 2014)."""
    place = (torch.arange(count, dtype=torch.int64, device=device) + (salt * 2**32 + 1)) * -0x61C8864680B583EB
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        place = (place ^ ((place >> shift) & (2 ** (64 - shift) - 1))) * factor
    return place | 1
