"""The operations of a decoding step other than matrix products, for one core of a CPU, compiled by numba.
Each kernel is one call where PyTorch needs five to ten, and attention reads only the positions that a row
attends to. Numbers are fp32, or bfloat16 seen as uint16, which numba does not know by name; sums are in
fp32. A row's bits depend on no other row.
"""

from typing import Any

import numba
import numpy as np
import torch
from numba.extending import overload
from torch import Tensor

from menon.compiled import compiled as by_kind

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Optimisations that the compiler may use: sums may be vectorised. NaN and infinities keep their meaning."""


def compiled(function: Any) -> dict[torch.dtype, Any]:
    """The compiled function by the dtype of the weights (`menon.compiled`). Each is compiled at its first
    call."""
    return {
        dtype: by_kind(function, str(dtype).removeprefix("torch."), fastmath=FAST)
        for dtype in (torch.float32, torch.bfloat16)
    }


def array_of(tensor: Tensor) -> np.ndarray:
    """The same memory, bfloat16 as uint16."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def wide(number):
    """A number of any of these arrays, in fp32."""


def put(array, place, number):
    """array[place] = number, which is in fp32, rounded to the nearest."""


@overload(wide, inline="always")
def _wide(number):
    if number == numba.types.uint16:
        return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)
    return lambda number: number


@overload(put, inline="always")
def _put(array, place, number):
    if array.dtype == numba.types.uint16:

        def rounded(array, place, number):
            whole = np.float32(number).view(np.uint32)
            odd = np.uint32(whole >> np.uint32(16)) & np.uint32(1)
            array[place] = np.uint16(np.uint32(whole + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return rounded

    def plain(array, place, number):
        array[place] = number

    return plain


@numba.njit(inline="always")  # see `draw_kernel.masses`
def inverse_rms(x, eps):
    """One over the root of the mean square of [d]."""
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j] * x[j]
    return np.float32(1) / np.sqrt(total / np.float32(len(x)) + eps)


@compiled
def add_rms_norm(x, change, weight, eps, out):
    """x [n, d] += change [n or 0, d]; out [n, d] = `decoder.norm` of it."""
    for row in range(len(x)):
        if len(change):
            for j in range(x.shape[1]):
                x[row, j] += wide(change[row, j])
        scale = inverse_rms(x[row], eps)
        for j in range(x.shape[1]):
            put(out[row], j, x[row, j] * scale * weight[j])


@compiled
def place(qkv, qk_norm, eps, cos, sin, q, rows, position, begins, borders, memory):
    """Norms and rotates queries and keys of `qkv` [n, heads + 2 * key_heads, D]; queries go to `q`
    [key_heads, n, heads per key, D], keys and values to `rows` [n] of the cache, at `position` [n].
    `qk_norm` [heads + key_heads or 0, D], `cos` and `sin` [positions, D] as of `decoder.rotary`; `begins`
    [2, blocks], `borders` and `memory` as of `BlockCache`."""
    key_heads, n, per, size = q.shape
    heads, half, turned = key_heads * per, size // 2, np.empty(size, np.float32)
    for row in range(n):
        at = position[row]
        block = 0
        while borders[block + 1] <= at:
            block += 1
        positions = borders[block + 1] - borders[block]
        for head in range(heads + 2 * key_heads):
            for j in range(size):
                turned[j] = wide(qkv[row, head, j])
            if head < heads + key_heads:
                if len(qk_norm):
                    scale = inverse_rms(turned, eps)
                    for j in range(size):
                        turned[j] *= scale * qk_norm[head, j]
                for j in range(half):
                    a, b = turned[j], turned[j + half]
                    turned[j] = a * cos[at, j] + b * sin[at, j]
                    turned[j + half] = b * cos[at, j + half] + a * sin[at, j + half]
            if head < heads:
                for j in range(size):
                    q[head // per, row, head % per, j] = turned[j]
            else:
                which, key_head = (head - heads) // key_heads, (head - heads) % key_heads
                begin = begins[which, block] + (rows[row] * key_heads + key_head) * positions
                into = memory[begin + at - borders[block]]
                for j in range(size):
                    put(into, j, turned[j])


@compiled
def score(q, shared, rows, position, begins, borders, memory, out):
    """Products of queries and keys, scaled -> `out` [key_heads, n, heads per key, width], -inf beyond a row's
    position. The first `shared` [n] positions of a row are left as they are."""
    key_heads, n, per, width = out.shape
    size, scale = memory.shape[1], np.float32(memory.shape[1] ** -0.5)
    for block in range(begins.shape[1]):
        first, positions = borders[block], borders[block + 1] - borders[block]
        if first >= width:
            break
        for row in range(n):
            known = min(max(0, shared[row] - first), positions)
            seen = max(0, min(position[row] + 1 - first, positions))
            for head in range(key_heads):
                begin = begins[0, block] + (rows[row] * key_heads + head) * positions
                for of in range(per):
                    query, scores = q[head, row, of], out[head, row, of, first : first + positions]
                    for t in range(known, seen):
                        key, total = memory[begin + t], np.float32(0)
                        for j in range(size):
                            total += query[j] * wide(key[j])
                        scores[t] = total * scale
                    for t in range(max(known, seen), positions):
                        scores[t] = -np.inf


@compiled
def mix(shares, shared, rows, position, begins, borders, memory, out):
    """Sums of values, weighted: `shares` as `out` of `score`, after softmax -> out [key_heads, n, heads per
    key, D], without the first `shared` [n] positions of a row."""
    key_heads, n, per, width = shares.shape
    size = memory.shape[1]
    out[:] = 0
    for block in range(begins.shape[1]):
        first, positions = borders[block], borders[block + 1] - borders[block]
        if first >= width:
            break
        for row in range(n):
            known, seen = max(0, shared[row] - first), min(position[row] + 1 - first, positions)
            for head in range(key_heads):
                begin = begins[1, block] + (rows[row] * key_heads + head) * positions
                for of in range(per):
                    total, share = out[head, row, of], shares[head, row, of]
                    for t in range(known, seen):
                        value, weight = memory[begin + t], share[first + t]
                        for j in range(size):
                            total[j] += weight * wide(value[j])
