"""Tokens of whole rows of logits on a CPU, compiled by numba: one row at a time, which stays in the cache,
where PyTorch's operations pass over all rows a dozen times.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from menon.engines.decoding.cpu_kernels import array_of, compiled, wide
from menon.engines.decoding.row_threads import in_parts

PIECE = 256
"""Tokens whose probabilities are added up before the sum is compared with the uniform number."""
MANY = 2**19
"""Numbers that take one thread a millisecond."""
LOWEST = np.float32(-87)
"""Below this e^x is taken for 0; at it the result is not yet denormal."""
LOG2E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts, so that a multiple of it is subtracted without loss."""


@numba.njit(inline="always")
def exp(x):
    """e^x in fp32 for `LOWEST` <= x <= 0 within 2e-7 of it, by a polynomial: unlike a library's function, it
    is computed for 16 numbers at a time."""
    power = np.floor(x * LOG2E + np.float32(0.5))
    r = x - power * LN2_HIGH - power * LN2_LOW
    series = np.float32(1 / 5040)
    series = series * r + np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(0.5)
    series = series * r + np.float32(1)
    series = series * r + np.float32(1)
    return series * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@numba.njit(inline="always")
def masses(row, most, warm, pieces):
    """The exponentials e of a row, at the temperature 1 / `warm` and with 1 for the largest: their sums in
    `pieces` of `PIECE`; returns the sum of e * log e."""
    moment = 0.0
    for piece in range(len(pieces)):
        total, product = np.float32(0), np.float32(0)
        for place in range(piece * PIECE, min(len(row), (piece + 1) * PIECE)):
            x = (wide(row[place]) - most) * warm
            near = LOWEST if x < LOWEST else x  # 1e-38 for 0, which no sum shows
            mass = exp(near)
            total += mass
            product += mass * near
        pieces[piece] = np.float64(total)
        moment += np.float64(product)
    return moment


@numba.njit
def token_at(row, most, warm, pieces, target):
    """The first token up to which the masses add up to more than `target`; the last one with a mass where
    none do, as in a row of NaN."""
    below, piece = 0.0, 0
    while piece < len(pieces) - 1 and below + pieces[piece] <= target:
        below += pieces[piece]
        piece += 1
    last = 0
    for place in range(piece * PIECE, len(row)):
        x = (wide(row[place]) - most) * warm
        mass = np.float32(0) if x < LOWEST else exp(x)
        below += np.float64(mass)
        if mass > 0:
            last = place
        if below > target:
            return place
    return last


@compiled
def draw_rows(logits, largest, uniform, temperature, token, numbers):
    """As `draw.draw` without truncation: `logits` [n, V], the largest of each row, `uniform` and
    `temperature` [n] -> `token` [n] and `numbers` [n, 3], log-prob, 0 and entropy."""
    pieces = np.empty((logits.shape[1] + PIECE - 1) // PIECE)
    for row in range(len(logits)):
        own, cold = logits[row], temperature[row] == 0
        warm = np.float32(1) if cold else np.float32(1) / temperature[row]
        most = largest[row]
        moment = masses(own, most, warm, pieces)
        total = pieces.sum()
        drawn = 0
        if cold:
            while drawn < len(own) - 1 and wide(own[drawn]) != most:
                drawn += 1
        else:
            drawn = token_at(own, most, warm, pieces, uniform[row] * total)
        token[row] = drawn
        numbers[row, 0] = np.float64((wide(own[drawn]) - most) * warm) - np.log(total)
        numbers[row, 1] = 0
        numbers[row, 2] = np.log(total) - moment / total


def has_kernel(logits: Tensor) -> bool:
    return logits.device.type == "cpu" and logits.dtype in draw_rows


def drawn_by_kernel(logits: Tensor, uniform: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [n] and their numbers [n, 3] of `logits` [n, V]; torch's threads divide the rows of many
    numbers."""
    n = len(logits)
    token, numbers = torch.empty(n, dtype=torch.int64), torch.empty(n, 3)
    logits = logits.contiguous()
    arrays, kernel = (
        [array_of(each) for each in (uniform, temperature, token, numbers)],
        draw_rows[logits.dtype],
    )
    parts = min(torch.get_num_threads(), n) if logits.numel() > MANY else 1

    def run(rows: slice) -> None:
        mine = logits[rows]
        kernel(array_of(mine), array_of(mine.amax(-1).float()), *(array[rows] for array in arrays))

    in_parts(run, n, parts)
    return token, numbers
