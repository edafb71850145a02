"""The twists of particles: what a beginning promises, by looking at endings of it."""

import math
from collections.abc import Sequence

import numpy as np

from menon.rollout.posterior.blocks import is_open
from menon.rollout.posterior.cloud import Cloud
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import log_mean_exp
from menon.rollout.posterior.writer import Ending, Writer


def look_ahead(
    clouds: Sequence[Cloud], writer: Writer, target: Target, lookahead: int, limit: int, most: int
) -> None:
    """Sets every twist: of beginnings of `limit` tokens by new endings, of whole answers by their reward."""
    moves = [
        [
            Ending(one, limit, (1, limit, number), place)
            for place, one in enumerate(cloud.particles)
            if is_open(one, most)
            for number in range(lookahead)
        ]
        for cloud in clouds
    ]
    endings = iter(writer.endings([move for each in moves for move in each]))
    for cloud, mine in zip(clouds, moves, strict=True):
        guesses: dict[int, list[float]] = {}
        for move in mine:
            end = next(endings)
            score = end.verdict.score
            guesses.setdefault(move.chain, []).append(0.0 if math.isnan(score) else score / target.beta)
            cloud.tokens += len(end.rollout.answer_tokens) - limit
        cloud.twist = np.array(
            [
                log_mean_exp(guesses[place]) if place in guesses else target.log_weight(one)
                for place, one in enumerate(cloud.particles)
            ]
        )
