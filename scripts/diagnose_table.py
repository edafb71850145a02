"""Does `menon diagnose` name what is wrong with a run, and keep quiet of runs that are well?

    python scripts/diagnose_table.py FOLDER [--only NAME ...]

Trains runs with one planted fault each and healthy runs on the built-in base, in FOLDER/NAME; one that is
there already is not trained again, so the work can be done in pieces. Then every run is diagnosed. A fault is
named if the first finding has its cause. Last line: `named=N/M false_alarms=N/M`.
"""

import argparse
import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from menon.record.layout import Layout

REWARDS = """
import re

def right(completion, answer):
    found = re.findall(r"#\\s*(-?\\d+)", completion)
    return float(bool(found) and found[-1] == str(answer))

def nines(prompt, completion, answer, **columns):
    return {"score": completion.count("9") / 5, "acc": right(completion, answer)}

def again(prompt, completion, answer, **columns):
    three = [completion[i : i + 3] for i in range(len(completion) - 2)]
    return {"score": (len(three) - len(set(three))) / 30, "acc": right(completion, answer)}

def raises(prompt, completion, answer, **columns):
    if sum(map(ord, completion)) % 16 == 0:
        raise ValueError("no such unit")
    return right(completion, answer)

def overflows(prompt, completion, answer, **columns):
    huge = sum(map(ord, completion)) % 100 == 0
    return {"score": 1e39 if huge else right(completion, answer), "acc": right(completion, answer)}

KEPT = []
def keeps(prompt, completion, answer, **columns):
    KEPT.append(bytearray(b"x" * 1_000_000))
    return right(completion, answer)
"""
SMALL = ("prompts_per_step=8", "heldout=50", "report_questions=0", "threads=1")


# Faults of the program itself, planted into the process that trains


def other_old_logp() -> None:
    """The log-probs of the policy before the updates are those of another policy: as if dropout were on."""
    from dataclasses import replace

    import torch

    from menon import step

    scored = step.score

    def wrong(batch, *rest):  # type: ignore[no-untyped-def]
        batch = scored(batch, *rest)
        noise = torch.randn(batch.num_tokens, generator=torch.Generator().manual_seed(0))
        return batch if batch.old_logp is None else replace(batch, old_logp=batch.old_logp + 0.2 * noise)

    step.score = wrong


def stale_sampler() -> None:
    """The sampler keeps the weights that it began with, and the channel says that it has the new ones."""
    from menon.engines.llama_family import decoder_of
    from menon.sync.by_reference import ByReference
    from menon.sync.fingerprint import fingerprint
    from menon.sync.protocols import Published

    def wrong(self, version):  # type: ignore[no-untyped-def]
        if not hasattr(self, "frozen"):
            self.frozen = True
            held = self.sampler
            held.model = copy.deepcopy(held.model)
            held.decoder, held._kept = decoder_of(held.model), None
        self.sampler.version = version
        return Published(version, fingerprint(self.policy.weights()))

    ByReference.publish = wrong  # type: ignore[method-assign]


def other_temperature() -> None:
    """The learner scores at another temperature than the sampler draws at."""
    from menon.engines.readout import Readout

    made = Readout.__init__

    def wrong(self, network, temperature, *rest):  # type: ignore[no-untyped-def]
        made(self, network, temperature * 1.3, *rest)

    Readout.__init__ = wrong  # type: ignore[method-assign]


@dataclass(frozen=True)
class Case:
    """A run, and the cause that must be found first; "" for a healthy one."""

    name: str
    settings: tuple[str, ...]
    cause: str = ""
    plant: Callable[[], None] | None = None


def sick(name: str, cause: str, *settings: str, plant: Callable[[], None] | None = None) -> Case:
    return Case(name, ("grpo", *settings), cause, plant)


EXPLORE = "objective.explore={{loss: entropy, share: token_mean, coef: {}}}"
PRICE = "advantage={price: {kind: linear_length, slope: 0.1}, credit: {kind: grpo}}"
BOUND = "objective.policy.loss.clip_{}=0.0005"
FAST = "learning_rate=1e-3"
SICK = (
    sick("entropy_up", "explosion", EXPLORE.format(3), "steps=14"),
    sick(
        "entropy_down",
        "collapse",
        EXPLORE.format(-3),
        "steps=10",
        FAST,
    ),
    sick(
        "length_down",
        "short",
        PRICE,
        "steps=14",
        FAST,
    ),
    sick("cut_answers", "cut", "max_new_tokens=18", "steps=8"),
    sick("equal_groups", "same_text", "temperature=0.05", "steps=8"),
    sick("nothing_stated", "unread", "reward=math", "steps=6"),
    sick("ratio", "ratio", "steps=6", plant=other_old_logp),
    sick("held_out_flat", "flat", "reward=rewards.py:nines", "steps=14", FAST),
    sick("repetition", "repetition", "reward=rewards.py:again", "steps=14", FAST),
    sick("no_end", "endless", "model=other_end", "steps=6"),
    sick("grader_errors", "graders", "reward=rewards.py:raises", "steps=8"),
    sick(
        "clipped",
        "clipped",
        BOUND.format("low"),
        BOUND.format("high"),
        "updates_per_step=8",
        FAST,
        "steps=8",
    ),
    sick("stale", "stale", "steps=10", plant=stale_sampler),
    sick("not_finite", "skipped", "reward=rewards.py:overflows", "steps=10"),
    sick("memory", "memory", "reward=rewards.py:keeps", "steps=14"),
    sick("apart", "apart", "steps=6", plant=other_temperature),
)
HEALTHY = (
    *(Case(f"healthy_grpo_{seed}", ("grpo", f"seed={seed}", "steps=14")) for seed in (0, 1, 2)),
    *(
        Case(f"healthy_{recipe}", (recipe, "steps=10"))
        for recipe in ("reinforce", "ppo", "dapo", "drgrpo", "rloo", "gspo", "cispo", "kl_cov", "maxrl")
    ),
)


def prepare(folder: Path) -> None:
    """The files that the cases name: rewards, and the base with an end token that it never writes."""
    import json
    import shutil

    from menon.base import WEIGHTS

    (folder / "rewards.py").write_text(REWARDS)
    model = folder / "other_end"
    if not model.exists():
        shutil.copytree(WEIGHTS, model)
        for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
            held = json.loads((model / name).read_text())
            for key, other in (("eos_token", "Z"), ("eos_token_id", None)):
                if key in held:
                    held[key] = other if other else token_id(model, "Z")
            (model / name).write_text(json.dumps(held))


def token_id(model: Path, text: str) -> int:
    import json

    return int(json.loads((model / "tokenizer.json").read_text())["model"]["vocab"][text])


def train(case: Case, folder: Path, seed: int | None) -> None:
    """Trains a case in a process of its own, unless its folder is there."""
    if Layout(folder / case.name).about.exists():
        return
    words = [sys.executable, __file__, str(folder), "--train", case.name]
    words += [] if seed is None else ["--seed", str(seed)]
    with (folder / f"{case.name}.log").open("w") as log:
        subprocess.run(words, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=None, help="names of cases")
    parser.add_argument("--seed", type=int, default=None, help="of the first case; others have the next ones")
    parser.add_argument("--train", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = {case.name: case for case in (*SICK, *HEALTHY)}
    if given.train:
        from menon.cli import main as menon

        case = cases[given.train]
        if case.plant is not None:
            case.plant()
        words = [word for word in case.settings if given.seed is None or not word.startswith("seed=")]
        number = list(cases).index(case.name)
        seed = [] if given.seed is None else [f"seed={given.seed + number}"]
        return menon(["train", *words, *SMALL, *seed, f"out={case.name}"])
    given.folder.mkdir(exist_ok=True, parents=True)
    prepare(given.folder)
    return report([cases[name] for name in given.only or cases], given.folder, given.seed)


def report(cases: list[Case], folder: Path, seed: int | None) -> int:
    """Trains what is missing, diagnoses all, and prints a line for each."""
    from menon.study.diagnosis import diagnose

    named = alarms = 0
    for case in cases:
        train(case, folder, seed)
        found = diagnose(folder / case.name).findings
        causes = [one.cause for one in found]
        named += bool(case.cause) and causes[:1] == [case.cause]
        alarms += not case.cause and bool(found)
        said = f"{found[0].evidence}; {found[0].setting}" if found else ""
        print(
            f"{case.name:<20} wanted {case.cause or '-':<12} found {','.join(causes) or '-':<30} {said}",
            flush=True,
        )
    sick_ones = sum(bool(case.cause) for case in cases)
    print(f"named={named}/{sick_ones} false_alarms={alarms}/{len(cases) - sick_ones}")
    return int(named < sick_ones or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
