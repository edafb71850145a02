"""A small grid: walk from A to G around walls, one move a line."""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from math import comb
from typing import ClassVar, Literal

import numpy as np

from menon.errors import UserError
from menon.streams import stream
from menon.types import Prompt

MOVES = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}
SIGNS = set("A.#G")
HELD_OUT_PERCENT = 10
TRIES = 40
"""Most draws for each grid that is wanted."""

Place = tuple[int, int]


@dataclass
class GridWorld:
    """A move is the first of the letters U, D, L, R in a line (`up` is U). The observation is the grid after
    it, or `wall`, or `no move`; reaching G earns 1 and ends the episode. `max_turns` bounds it.

    The grid is the one in the prompt: its lines of `A.#G`, A the position, G the goal, # a wall.
    """

    width: int = 4
    """Columns of a grid of its own."""
    height: int = 4
    """Rows of a grid of its own."""
    walls: int = 4
    """Number of walls in the grids of `rows`."""
    kind: Literal["grid_world"] = "grid_world"
    stop: ClassVar[tuple[str, ...]] = ("\n",)
    grid: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    at: Place = field(default=(0, 0), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not 0 <= self.walls <= self.width * self.height - 2:
            raise UserError(
                f"a grid of {self.width} x {self.height} has no room for {self.walls} walls, a start and "
                "a goal"
            )

    def reset(self, prompt: Prompt, seed: int) -> str:
        text = prompt.columns.get("question")
        lines = (text if isinstance(text, str) else prompt.text).splitlines()
        self.grid = [line for line in lines if line and set(line) <= SIGNS]
        drawn = "\n".join(self.grid)
        if drawn.count("A") != 1 or drawn.count("G") != 1 or len({len(line) for line in self.grid}) != 1:
            raise UserError(
                "the question holds no grid: lines of one length of the signs A.#G, with one A and one G"
            )
        self.at = find(self.grid, "A")
        self.grid = [line.replace("A", ".") for line in self.grid]
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        gap = "" if text.endswith("\n") else "\n"
        move = next((letter for letter in text.upper() if letter in MOVES), None)
        if move is None:
            return f"{gap}no move\n", 0.0, False
        to = beside(self.at, move)
        if not free(self.grid, to):
            return f"{gap}wall\n", 0.0, False
        self.at = to
        if self.grid[to[0]][to[1]] == "G":
            return "", 1.0, True
        return f"{gap}{shown(self.grid, self.at)}", 0.0, False

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, str]]:
        """Up to `n` different grids of one split, fewer where the size has no more; the answer is a shortest
        way."""
        rng = stream(seed, "grid_world", self.width, self.height, self.walls)
        rows: dict[str, str] = {}
        for _ in range(TRIES * n):
            grid, way = self.draw(rng)
            if way is not None and split_of(grid) == split:
                rows.setdefault(grid, way)
                if len(rows) == n:
                    break
        return [
            {"question": f"Go from A to G, one of U, D, L, R a line.\n{grid}", "answer": way}
            for grid, way in rows.items()
        ]

    def room(self, split: str) -> int:
        cells = self.width * self.height
        return cells * (cells - 1) * comb(cells - 2, self.walls)

    def draw(self, rng: np.random.Generator) -> tuple[str, str | None]:
        """A grid, with a shortest way through it if there is any."""
        cells = self.width * self.height
        start, goal, *walls = rng.permutation(cells)[: self.walls + 2].tolist()
        signs = np.full(cells, ".")
        signs[walls], signs[goal] = "#", "G"
        grid = ["".join(row) for row in signs.reshape(self.height, self.width)]
        at = divmod(start, self.width)
        return shown(grid, at), shortest(grid, at)


def split_of(grid: str) -> str:
    """The split of a grid, by a hash of its text, so that no grid is in both splits."""
    digest = hashlib.blake2b(grid.encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT else "train"


def shown(grid: list[str], at: Place) -> str:
    row, column = at
    lines = [line[:column] + "A" + line[column + 1 :] if i == row else line for i, line in enumerate(grid)]
    return "\n".join(lines) + "\n"


def find(grid: list[str], sign: str) -> Place:
    return next((i, line.index(sign)) for i, line in enumerate(grid) if sign in line)


def beside(at: Place, move: str) -> Place:
    return at[0] + MOVES[move][0], at[1] + MOVES[move][1]


def free(grid: list[str], at: Place) -> bool:
    return 0 <= at[0] < len(grid) and 0 <= at[1] < len(grid[0]) and grid[at[0]][at[1]] != "#"


def shortest(grid: list[str], start: Place) -> str | None:
    """Moves of a shortest way to G, the first in the order of `MOVES`; None where no way leads there."""
    ways = {start: ""}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        if grid[at[0]][at[1]] == "G":
            return ways[at]
        for move in MOVES:
            to = beside(at, move)
            if free(grid, to) and to not in ways:
                ways[to] = ways[at] + move
                waiting.append(to)
    return None
