"""The settings of a run's teacher: which models it is, what it reads, and how it follows the policy."""

import re
from dataclasses import dataclass, field

from menon.errors import UserError

START, POLICY = "start", "policy"
"""Teachers without a folder: the policy as it was at the start, and as it is now."""
FROM_STEP = ("right_answer", "feedback")
"""Fields of `teacher_question` that are known once a step's answers are graded."""


@dataclass(frozen=True)
class TeacherSettings:
    """A model, or several, whose distributions the policy is drawn to."""

    teacher: str | None = None
    """A model of the policy's vocabulary, for distillation. It is a folder, a name on the hub, start (the
    policy as it was at the start) or policy (the policy as it is now, which needs `teacher_question`). A
    recipe of distillation has "", which stands for one that is still to be named; null: none."""
    teachers: dict[str, str] = field(default_factory=dict)
    """Several teachers in place of one: name -> a model as for `teacher`. Each row is scored by the teacher
    that it names. All stay in memory."""
    teacher_by: str = "teacher"
    """With `teachers`: the column of the rows that names the teacher. Rows of a task without this column
    belong to the teacher that has the task's name."""
    teacher_rate: float = 0.0
    """Share of the policy that goes into the teacher after each step. With teacher=start only: the teacher is
    then a moving average of the policy. 0: it stays as it was; 1: it is the policy before the step."""
    teacher_question: str | tuple[str, ...] | None = None
    """What the teacher reads in place of the question. It is a text with {q}, {answer} and other columns of
    the row, as {hint}; null: the question. {right_answer} is another answer to the question that is right,
    {feedback} what the reward said of this one. Of several texts an answer takes the first for which all
    fields are there; if there is none, the teacher reads the question."""

    def __post_init__(self) -> None:
        if self.teacher and self.teachers:
            raise UserError("teacher and teachers are both given; name one teacher, or several by name")
        if not 0 <= self.teacher_rate <= 1:
            raise UserError(f"teacher_rate is {self.teacher_rate:g}; it is a share of the policy, 0 to 1")
        if self.teacher_rate and self.teacher != START:
            raise UserError(
                "teacher_rate lets the teacher follow the policy, so it must begin as the policy; set "
                "teacher=start, or teacher_rate=0"
            )
        if POLICY in (self.teacher, *self.teachers.values()) and not self.teacher_questions:
            raise UserError(
                "teacher=policy reads what the policy reads and says what it says; set teacher_question to a "
                "text with a hint, or name another teacher"
            )
        self._check_questions()

    def _check_questions(self) -> None:
        for place, text in enumerate(self.teacher_questions, 1):
            if not self.taught:
                raise UserError(
                    "teacher_question is read by a teacher, and this run has none; set teacher=start"
                )
            if "{q}" not in text:
                raise UserError("teacher_question has no {q}, where the question goes; put it in")
            if place < len(self.teacher_questions) and not fields_of_step(text):
                raise UserError(
                    f"text {place} of teacher_question has a hint for every answer, so those after it are "
                    "never read; put it last"
                )

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher is not None or bool(self.teachers)

    @property
    def teacher_questions(self) -> tuple[str, ...]:
        """The texts of `teacher_question`, in their order."""
        given = self.teacher_question
        return () if given is None else (given,) if isinstance(given, str) else given

    @property
    def hints_of_step(self) -> bool:
        """Whether what the teacher reads depends on the answers of the step."""
        return any(map(fields_of_step, self.teacher_questions))


def fields_of(text: str) -> tuple[str, ...]:
    """The names in braces, each once; the question is one of them.

    >>> fields_of("{q} {hint} {q}")
    ('q', 'hint')
    """
    return tuple(dict.fromkeys(("q", *re.findall(r"\{(\w+)\}", text))))


def fields_of_step(text: str) -> tuple[str, ...]:
    """Those of `FROM_STEP` that a text puts in.

    >>> fields_of_step("{q} {feedback}"), fields_of_step("{q} {answer}")
    (('feedback',), ())
    """
    return tuple(name for name in fields_of(text) if name in FROM_STEP)
