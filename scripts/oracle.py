"""Prints the tables of docs/oracle.md: expected gradients on the toy language model of the tests, against the
true ones.

python scripts/oracle.py
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from oracle import head, tables


def main() -> None:
    torch.set_num_threads(1)
    for title, rows in tables().items():
        print(f"## {title}\n\n{head(title)}")
        for row in rows:
            print(row.line(), flush=True)
        print()


if __name__ == "__main__":
    main()
