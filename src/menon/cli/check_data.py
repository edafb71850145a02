"""`menon check data FILE`: does every gold answer earn the full reward through its own verifier?"""

from menon.cli.check_verifier import reward_named
from menon.errors import SHOWN, UserError
from menon.parts import close
from menon.prompts.reader import read_rows
from menon.reward.code.signatures import Asked, judge
from menon.reward.grade import GIVEN


def check_data(path: str, reward: str = "math") -> int:
    """Prints the rows that fail, and counts; returns 0 if there are none. UserError: there is no such file or
    reward, or it is not known how an answer is stated for the reward (as for a function of your own)."""
    rows, skipped = read_rows(path, on_bad="skip")
    made = reward_named(reward)
    spell = getattr(made, "spell", None)
    try:
        if spell is None:
            raise UserError(
                f"it is not known how an answer is stated for the reward '{reward}'; check with math, exact, "
                "choice or json"
            )
        faults = []
        for number, row in enumerate(rows, start=1):
            columns = {name: value for name, value in row.items() if name not in GIVEN}
            verdict = judge(made, "menon", Asked("", spell("", row["answer"]), row["answer"], columns))
            if verdict.acc != 1:
                faults.append(
                    f"row {number}: its own answer {row['answer']!r} " + (verdict.error or "earns no reward")
                )
    finally:
        close(made)
    for fault in faults[: 4 * SHOWN]:
        print(fault)
    if len(faults) > 4 * SHOWN:
        print(f"and {len(faults) - 4 * SHOWN} more")
    print(f"right={len(rows) - len(faults)} of={len(rows)} unreadable={skipped}", flush=True)
    return 0 if not faults and not skipped else 1
