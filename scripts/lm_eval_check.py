"""Evaluates a model folder of Menon by Menon and by lm-eval, and compares the two answer by answer.

    python scripts/lm_eval_check.py MODEL [n=200] [lm_eval=PATH]

MODEL is `base`, a model folder, or a run folder. `lm_eval` is the command of the lm-evaluation-harness, in an
environment of its own if you like (`pip install lm-eval accelerate`). It is given the folder, a task file and
a JSONL file made from chain_sum; they stay in `lm_eval_check/` to be looked at. Greedy on both sides. Exits
with 1 if the two disagree on an answer.
"""

import json
import subprocess
import sys
from pathlib import Path

from menon.assembly.evaluation import evaluate, folder_of
from menon.eval.config import EvalConfig
from menon.eval.run import Item
from menon.prompts.tasks import ChainSum
from menon.prompts.tasks.chain_sum import extract

FOLDER = Path("lm_eval_check")
MAX_NEW_TOKENS = 128  # as the generation_config of the shipped base has it, which lm-eval obeys
TASK = """\
task: menon_chain_sum
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["<|endoftext|>"], do_sample: false, max_gen_toks: {length}}}
filter_list:
  - name: last-line
    filter: [{{function: regex, regex_pattern: '#([0-9]+)\\s*\\Z'}}, {{function: take_first}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""


def main(words: list[str]) -> int:
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    models = [word for word in words if "=" not in word]
    if len(models) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    n = int(settings.get("n", 200))
    ours = evaluate(
        EvalConfig(model=models[0], task=ChainSum(), n=n, temperature=0.0, max_new_tokens=MAX_NEW_TOKENS)
    )
    theirs = by_lm_eval(folder_of(models[0]), n, settings.get("lm_eval", "lm_eval"))
    return report(ours.items, theirs)


def by_lm_eval(model: str, n: int, command: str) -> list[dict]:
    """lm-eval's log of each question."""
    FOLDER.mkdir(exist_ok=True)
    data = (FOLDER / "chain_sum.jsonl").resolve()
    data.write_text("".join(json.dumps(row) + "\n" for row in ChainSum().rows("heldout", n, 0)))
    (FOLDER / "menon_chain_sum.yaml").write_text(TASK.format(data=data, length=MAX_NEW_TOKENS))
    for old in FOLDER.glob("out/**/samples_*.jsonl"):
        old.unlink()
    options = {
        "--model": "hf",
        "--model_args": f"pretrained={model},dtype=float32",
        "--include_path": str(FOLDER),
        "--tasks": "menon_chain_sum",
        "--device": "cpu",
        "--batch_size": "50",
        "--output_path": str(FOLDER / "out"),
    }
    subprocess.run(
        [command, *[word for pair in options.items() for word in pair], "--log_samples"], check=True
    )
    (log,) = FOLDER.glob("out/**/samples_*.jsonl")
    return sorted(map(json.loads, log.read_text().splitlines()), key=lambda line: line["doc_id"])


def report(ours: list[Item], theirs: list[dict]) -> int:
    differ = 0
    for item, line in zip(ours, theirs, strict=True):
        assert item.answer == line["doc"]["answer"]
        text = line["resps"][0][0]
        if extract(text) != item.stated[0]:
            differ += 1
            print(f"{line['doc']['question']}  menon states {item.stated[0]}, lm-eval's text is {text!r}")
    sides = {
        "menon": [item.acc[0] for item in ours],
        "lm-eval": [float(line["exact_match"]) for line in theirs],
    }
    for name, accs in sides.items():
        print(f"{name:<8} exact match {sum(accs) / len(accs):.4f}  ({sum(accs):.0f} of {len(accs)})")
    print(f"answers that differ: {differ}")
    return int(differ > 0 or sides["menon"] != sides["lm-eval"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
