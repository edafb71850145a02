"""Built-in tasks: generated questions with an exact verifier."""

from menon.prompts.tasks.boolean import Boolean
from menon.prompts.tasks.chain_sum import ChainSum
from menon.prompts.tasks.countdown import Countdown
from menon.prompts.tasks.long_chain import LongChain
from menon.prompts.tasks.shortcut import Shortcut
from menon.prompts.tasks.sorting import Sorting
from menon.prompts.tasks.subjects import Subjects
from menon.prompts.tasks.word_problems import WordProblems

Task = ChainSum | LongChain | Countdown | Sorting | Boolean | WordProblems | Subjects | Shortcut
"""Every built-in task; `kind` is its name."""

TASKS: dict[str, type[Task]] = {
    task.kind: task
    for task in (ChainSum, LongChain, Countdown, Sorting, Boolean, WordProblems, Subjects, Shortcut)
}

__all__ = [
    "TASKS",
    "Boolean",
    "ChainSum",
    "Countdown",
    "LongChain",
    "Shortcut",
    "Sorting",
    "Subjects",
    "Task",
    "WordProblems",
    "name_of",
]


def task_name(task: object) -> str:
    """The name of a task in a line of text; None stands for the default task."""
    return ChainSum.kind if task is None else str(getattr(task, "kind", type(task).__name__))
