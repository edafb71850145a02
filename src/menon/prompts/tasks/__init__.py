"""Built-in tasks: generated questions with an exact verifier."""

from menon.prompts.tasks.chain_sum import ChainSum

Task = ChainSum
"""Every built-in task; a second one makes this a union."""

TASKS: tuple[type[Task], ...] = (ChainSum,)

__all__ = ["TASKS", "ChainSum", "Task"]
