"""Runs every record of a folder of golden vectors: python tests/golden/run.py FOLDER

Prints each mismatch and each departure with its size, lists the functions whose code does not exist yet, and
ends with 'N departures' and 'N passed, N failed'. Exit status 1 if any record failed, 2 for a folder without
records.
"""

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "support"), str(ROOT / "src")]


def main(folder: Path) -> int:
    import torch

    from golden.records import load
    from golden.verdicts import judge

    torch.set_num_threads(1)
    records = load(folder)
    if not records:
        print(f"{folder} holds no golden vectors; give the folder with the *.json files", file=sys.stderr)
        return 2
    judged = [judge(record) for record in records]
    for outcome in ("departure", "failed"):
        for one in judged:
            if one.outcome == outcome:
                print(f"{outcome}: {one.record.id} ({one.record.variant}): {one.text}")
    waiting = Counter((one.record.function, one.text) for one in judged if one.outcome == "not yet")
    for (function, what), number in sorted(waiting.items()):
        print(f"not yet: {function}, {number} records: waits for {what}")
    count = Counter(one.outcome for one in judged)
    print(f"{count['not yet']} not yet")
    print(f"{count['departure']} departures")
    print(f"{count['passed']} passed, {count['failed']} failed")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/golden/run.py FOLDER")
    sys.exit(main(Path(sys.argv[1])))
