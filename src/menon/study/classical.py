"""Classical reinforcement learning on a grid with a cliff: exact values, TD(0), SARSA, Q-learning, REINFORCE.

Cliff walking is example 6.6 of Sutton and Barto, "Reinforcement Learning" (2018); here a fall ends the walk.
`docs/classical.md` explains this file. `python -m menon.study.classical` prints what it finds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Step = tuple[int, int, float, int]
"""State, action, reward, next state."""

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Up, right, down, left, as (row, column)."""
LIMIT = 200
"""Most steps of a walk."""


@dataclass(frozen=True)
class Grid:
    """A deterministic decision process. In an end state every action stays there with reward 0."""

    next_SA: NDArray[np.int64]
    reward_SA: Array
    ended_S: NDArray[np.bool_]
    start: int
    columns: int


def cliff(rows: int = 4, columns: int = 8, fall: float = -100.0) -> Grid:
    """Start and goal are the lower corners, and all cells between them are cliff. A step has reward -1, one
    over the edge `fall`."""
    places = rows * columns
    bottom = (rows - 1) * columns
    ended = np.zeros(places, dtype=bool)
    ended[bottom + 1 :] = True
    after = np.repeat(np.arange(places)[:, None], len(MOVES), axis=1)
    reward = np.zeros((places, len(MOVES)))
    for state in np.flatnonzero(~ended):
        row, column = divmod(int(state), columns)
        for action, (down, right) in enumerate(MOVES):
            place = min(max(row + down, 0), rows - 1) * columns + min(max(column + right, 0), columns - 1)
            after[state, action] = place
            reward[state, action] = fall if bottom < place < places - 1 else -1.0
    return Grid(after, reward, ended, bottom, columns)


def returns(reward_T: Sequence[float], gamma: float = 1.0) -> Array:
    """U_t = r_t + gamma U_{t+1}, from the last step to the first."""
    found = np.zeros(len(reward_T) + 1)
    for t in reversed(range(len(reward_T))):
        found[t] = reward_T[t] + gamma * found[t + 1]
    return found[:-1]


def exact_values(grid: Grid, policy_SA: Array, gamma: float = 1.0) -> Array:
    """V = r + gamma P V solved as a linear system; 0 in end states. The policy must reach an end state from
    everywhere."""
    states = np.arange(len(grid.ended_S))
    move_SS = np.zeros((len(states), len(states)))
    for action in range(len(MOVES)):
        np.add.at(move_SS, (states, grid.next_SA[:, action]), policy_SA[:, action])
    move_SS[grid.ended_S] = 0
    return np.linalg.solve(np.eye(len(states)) - gamma * move_SS, (policy_SA * grid.reward_SA).sum(1))


def walk(grid: Grid, policy_SA: Array, rng: np.random.Generator, start: int | None = None) -> Iterator[Step]:
    """The steps of a walk by the policy, until an end state or `LIMIT` steps."""
    state, taken = grid.start if start is None else start, 0
    while not grid.ended_S[state] and taken < LIMIT:
        action = int(rng.choice(len(MOVES), p=policy_SA[state]))
        after = int(grid.next_SA[state, action])
        yield state, action, float(grid.reward_SA[state, action]), after
        state, taken = after, taken + 1


def td0(grid: Grid, policy_SA: Array, rng: np.random.Generator, walks: int, gamma: float = 1.0) -> Array:
    """V(s) += alpha (r + gamma V(s') - V(s)) after every step; alpha = (visits of s)^-.8, which sums to
    infinity while its squares do not. Walks start anywhere, so that every state is visited."""
    value, visits = np.zeros(len(grid.ended_S)), np.zeros(len(grid.ended_S))
    alive = np.flatnonzero(~grid.ended_S)
    for _ in range(walks):
        for state, _, reward, after in walk(grid, policy_SA, rng, int(rng.choice(alive))):
            visits[state] += 1
            value[state] += visits[state] ** -0.8 * (reward + gamma * value[after] - value[state])
    return value


def epsilon_greedy(q_SA: Array, epsilon: float) -> Array:
    """The best action (the first of equal ones), but with probability epsilon any action."""
    policy = np.full(q_SA.shape, epsilon / q_SA.shape[1])
    policy[np.arange(len(q_SA)), q_SA.argmax(1)] += 1 - epsilon
    return policy


def learn_actions(
    grid: Grid, rng: np.random.Generator, on_policy: bool, walks: int = 3000, epsilon: float = 0.1
) -> Array:
    """Q(s, a) += alpha (r + next - Q(s, a)), alpha = .1, while walking epsilon-greedily.

    On-policy (SARSA), `next` is Q(s', a') of the action a' that is taken, random ones included; off-policy
    (Q-learning), it is the maximum over a' of Q(s', a'), as if no later action were random.
    """
    q = np.zeros(grid.reward_SA.shape)

    def choose(state: int) -> int:
        return int(rng.integers(len(MOVES))) if rng.random() < epsilon else int(q[state].argmax())

    for _ in range(walks):
        state, action = grid.start, choose(grid.start)
        while not grid.ended_S[state]:
            after = int(grid.next_SA[state, action])
            then = choose(after)
            following = q[after, then] if on_policy else q[after].max()
            q[state, action] += 0.1 * (grid.reward_SA[state, action] + following - q[state, action])
            state, action = after, then
    return q


def greedy_path(grid: Grid, q_SA: Array) -> list[int]:
    """States of the greedy walk from the start; it stops at an end state, or before it would repeat a
    state."""
    path = [grid.start]
    while not grid.ended_S[path[-1]] and len(path) == len(set(path)):
        path.append(int(grid.next_SA[path[-1], q_SA[path[-1]].argmax()]))
    return path


def softmax(logits_SA: Array) -> Array:
    """Logits [states, actions] -> probabilities of the actions."""
    weight = np.exp(logits_SA - logits_SA.max(1, keepdims=True))
    return weight / weight.sum(1, keepdims=True)


def reinforce(
    grid: Grid, rng: np.random.Generator, anywhere: bool = True, updates: int = 150, rate: float = 2.0
) -> Array:
    """Logits of a policy, by the policy gradient: mean over 64 walks of the sum of grad log pi(a_t | s_t)
    A_t.

    A_t is the return-to-go, whitened over the update, as in the recipe `reinforce`; grad log pi with respect
    to the logits of s_t is onehot(a_t) - pi(. | s_t). Walks begin anywhere, or all at the start.
    """
    logits = np.zeros(grid.reward_SA.shape)
    alive = np.flatnonzero(~grid.ended_S)
    for _ in range(updates):
        policy = softmax(logits)
        starts = rng.choice(alive, 64) if anywhere else [grid.start] * 64
        drawn = [list(walk(grid, policy, rng, int(start))) for start in starts]
        to_go = np.concatenate([returns([reward for _, _, reward, _ in steps]) for steps in drawn])
        credit = (to_go - to_go.mean()) / (to_go.std() + 1e-8)
        gradient = np.zeros_like(logits)
        for (state, action, _, _), advantage in zip(
            (step for steps in drawn for step in steps), credit, strict=True
        ):
            gradient[state] -= policy[state] * advantage
            gradient[state, action] += advantage
        logits += rate * gradient / len(drawn)
    return logits


def drawing(grid: Grid, path: Sequence[int]) -> str:
    """The grid as text: o the path, # the cliff, . the rest."""
    goal = len(grid.ended_S) - 1
    marks = ["#" if ended and place != goal else "." for place, ended in enumerate(grid.ended_S)]
    for place in path:
        marks[place] = "o"
    return "\n".join("".join(marks[row : row + grid.columns]) for row in range(0, len(marks), grid.columns))


def main() -> None:
    """Prints the results that docs/classical.md discusses."""
    grid, rng = cliff(), np.random.default_rng(0)
    policy = epsilon_greedy(learn_actions(grid, rng, on_policy=True), 0.2)
    exact, learned = exact_values(grid, policy), td0(grid, policy, rng, walks=4000)
    alive = ~grid.ended_S
    off, size = np.abs(learned - exact)[alive].mean(), np.abs(exact)[alive].mean()
    print(
        f"TD(0) after 4000 walks: values of {size:.1f} are off by {off:.2f} on average from the linear "
        "system's"
    )
    for name, on_policy in (("Q-learning", False), ("SARSA", True)):
        q = learn_actions(grid, rng, on_policy)
        path = greedy_path(grid, q)
        stumbling = exact_values(grid, epsilon_greedy(q, 0.1))[grid.start]
        print(
            f"\n{name}: {len(path) - 1} steps; expected return where one step in ten is random: "
            f"{stumbling:.1f}"
        )
        print(drawing(grid, path))
    print()
    for name, anywhere in (("anywhere", True), ("at the start alone", False)):
        logits = reinforce(grid, rng, anywhere)
        before, after = (exact_values(grid, softmax(x))[grid.start] for x in (0 * logits, logits))
        print(f"REINFORCE, walks that begin {name}: expected return {before:.1f} before, {after:.1f} after")


if __name__ == "__main__":
    main()
