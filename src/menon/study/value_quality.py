"""How good are estimates of values? Compares a critic, the group's mean and Monte-Carlo answers with exact
values, on a language model that is small enough to compute them.

    python -m menon.study.value_quality [--answers 64] [--repeats 2000]

The vocabulary is two letters and an end token, answers have up to six tokens, and the policy is random. An
answer is right if it has at least two letters b and an end token. The value of every state is computed
exactly by recursion. Each estimator estimates the values of all states many times: bias is the error of its
mean, deviation its standard deviation, each as the root mean square over states, weighted by how often
answers visit them. Cost is the number of extra tokens for each answer that is trained on.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from menon.streams import stream

LENGTH, END = 6, 2
GROUP = 8
"""Answers to one question."""
State = tuple[int, ...]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """The policy and its exact values. States are prefixes without an end token, in the order of their
    lengths."""

    states: tuple[State, ...]
    policy: Array
    """[states, 3]"""
    value: Array
    """[states]"""
    visits: Array
    """[states] how often an answer passes through a state, summing to 1."""
    left: Array
    """[states] expected number of tokens still to be written."""

    @property
    def row(self) -> dict[State, int]:
        return {state: i for i, state in enumerate(self.states)}


def reward(state: State, ended: bool) -> float:
    """1 for an answer that ended and has at least two letters b, else 0."""
    return float(ended and state.count(1) >= 2)


def world(seed: int) -> World:
    """A random policy, with the exact values of its states."""
    states = tuple(state for size in range(LENGTH) for state in product((0, 1), repeat=size))
    logits = stream(seed, "value quality").normal(size=(len(states), 3)) - np.array(
        [0, 0, 2]
    )  # few early ends
    policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    row = {state: i for i, state in enumerate(states)}
    value, left, visits = (np.zeros(len(states)) for _ in range(3))
    visits[0] = 1
    for i, state in enumerate(states):
        for letter in (0, 1):
            if (*state, letter) in row:
                visits[row[(*state, letter)]] = visits[i] * policy[i, letter]
    for i in reversed(range(len(states))):
        value[i] = policy[i, END] * reward(states[i], True)
        left[i] = 1
        for letter in (0, 1):
            if (after := row.get((*states[i], letter))) is not None:
                value[i] += policy[i, letter] * value[after]
                left[i] += policy[i, letter] * left[after]
    return World(states, policy, value, visits / visits.sum(), left)


def answer(w: World, draw: np.random.Generator, start: State = ()) -> tuple[list[int], float]:
    """Indices of the states that an answer passes through, from `start` on, and its reward."""
    row, state, passed = w.row, start, []
    while True:
        passed.append(row[state])
        token = int(draw.choice(3, p=w.policy[row[state]]))
        if token == END:
            return passed, reward(state, True)
        state = (*state, token)
        if len(state) == LENGTH:
            return passed, 0.0


Estimator = Callable[[World, np.random.Generator], Array]
"""One set of estimates [states]."""


def group_mean(w: World, draw: np.random.Generator) -> Array:
    """GRPO's baseline: the mean reward of the group, for every state."""
    return np.full(len(w.states), np.mean([answer(w, draw)[1] for _ in range(GROUP)]))


def monte_carlo(k: int) -> Estimator:
    """The mean of k new answers from each state; the number of right ones is binomial with the state's
    value."""
    return lambda w, draw: draw.binomial(k, w.value) / k


def critic(answers: int, features: Callable[[World], Array]) -> Estimator:
    """Least squares with a small ridge penalty, on the rewards of the answers through each state."""

    def fitted(w: World, draw: np.random.Generator) -> Array:
        x = features(w)
        seen = [(state, got) for rows, got in (answer(w, draw) for _ in range(answers)) for state in rows]
        inputs, targets = x[[state for state, _ in seen]], np.array([got for _, got in seen])
        return x @ np.linalg.solve(inputs.T @ inputs + 1e-3 * np.eye(x.shape[1]), inputs.T @ targets)

    return fitted


def coarse(w: World) -> Array:
    """Features of a weak critic: the length of the prefix."""
    return np.array([[1.0, len(state)] for state in w.states])


def fine(w: World) -> Array:
    """Features of a good critic: the counts of letters so far by length, and the last letter."""
    return np.array(
        [
            [1.0, len(s), s.count(1), min(s.count(1), 2), len(s) * s.count(1), float(s[-1:] == (1,))]
            for s in w.states
        ]
    )


def states_alone(w: World) -> Array:
    """Features of a tabular critic: one per state."""
    return np.eye(len(w.states))


def tree(branching: tuple[int, ...], every: int) -> Estimator:
    """SPO-tree: nodes after every few tokens; the value of a node is the mean of its children. A state
    without a node gets the value of the nearest node before it."""

    def grown(w: World, draw: np.random.Generator) -> Array:
        found: dict[int, list[float]] = {}

        def worth(start: State, depth: int) -> float:
            children = [below(start, depth) for _ in range(branching[depth])]
            found.setdefault(w.row[start], []).append(float(np.mean(children)))
            return float(np.mean(children))

        def below(start: State, depth: int) -> float:
            rows, got = answer(w, draw, start)
            if depth == len(branching) - 1 or len(rows) <= every:
                return got
            return worth(w.states[rows[every]], depth + 1)

        worth((), 0)
        values = np.empty(len(w.states))
        for i, state in enumerate(w.states):
            near = next(state[:size] for size in range(len(state), -1, -1) if w.row[state[:size]] in found)
            values[i] = np.mean(found[w.row[near]])
        return values

    return grown


@dataclass(frozen=True)
class Row:
    """The quality of one estimator."""

    name: str
    bias: float
    """Square root of the mean squared bias."""
    deviation: float
    """Square root of the mean variance."""
    error: float
    """Square root of the mean squared error."""
    cost: float
    """Extra tokens for each answer that is trained on, without its own."""


def measured(w: World, name: str, estimator: Estimator, cost: float, repeats: int, seed: int = 0) -> Row:
    """Bias, deviation and error of an estimator, from `repeats` sets of estimates."""
    draws = np.stack([estimator(w, stream(seed, "estimate", name, i)) for i in range(repeats)])
    bias = draws.mean(0) - w.value
    # The sampling error of the mean over this many draws is not bias.
    squared = np.maximum(bias**2 - draws.var(0, ddof=1) / repeats, 0)
    variance = draws.var(0, ddof=1)

    def over(values: Array) -> float:
        return float(np.sqrt((w.visits * values).sum()))

    return Row(name, over(squared), over(variance), over(squared + variance), cost)


def rows(w: World, answers: int, repeats: int) -> Iterator[Row]:
    """The rows of the table, one per estimator."""
    whole = float(w.left[0])
    yield measured(w, "group mean of 8", group_mean, 0.0, repeats)
    slow = max(50, repeats // 10)
    for k in (1, 3, 9):
        # From each state that an answer passes through, k answers to its end.
        cost = k * float((w.visits * w.left).sum()) * whole
        yield measured(w, f"Monte-Carlo, {k} answers", monte_carlo(k), cost, repeats)
    for shape in ((2, 2, 2), (4, 4, 4)):
        yield measured(
            w, f"tree {'-'.join(map(str, shape))}, nodes after 2 tokens", tree(shape, 2), 0.0, slow
        )
    for name, features in (("length alone", coarse), ("length and letters", fine), ("a table", states_alone)):
        yield measured(w, f"critic, {name}, {answers} answers", critic(answers, features), 0.0, slow)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    w = world(asked.seed)
    print(
        f"value of the question {w.value[0]:.3f}, an answer has {w.left[0]:.2f} tokens, values of states "
        "deviate by "
        f"{np.sqrt((w.visits * (w.value - (w.visits * w.value).sum()) ** 2).sum()):.3f}\n"
    )
    print("| estimate | bias | deviation | error | tokens for an answer |\n|---|---|---|---|---|")
    for row in rows(w, asked.answers, asked.repeats):
        print(
            f"| {row.name} | {row.bias:.3f} | {row.deviation:.3f} | {row.error:.3f} | {row.cost:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
