"""The `menon` command. Heavy libraries are imported only after the command line is parsed and the number of
threads is chosen."""

import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import TracebackType

from menon.errors import UserError, nearest
from menon.printable import printable_output

HELP = """\
Menon: reinforcement learning with verifiable rewards on language models.

  menon train                                  train the built-in base model on sums, to see it happen
  menon train grpo data=FILE.jsonl model=NAME  train any causal language model on your own questions
  menon train ppo settings.yaml seed=3         a recipe, a file of settings, single settings
  menon train --resume RUN                     go on with a run, as if it had never stopped
  menon eval RUN                               a run's newest checkpoint, evaluated as in the run
  menon eval MODEL task=chain_sum n=200 k=8    avg@k, pass@k, maj@k of any model
  menon eval MODEL set=gsm8k path=FOLDER       the same on a public set whose file you have
  menon export RUN out=FOLDER                  its model as one ordinary folder; an adapter is merged
  menon compare A.json B.json                  two evaluations, question by question
  menon compare RUN                            did it learn: before the first step and after the last
  menon compare a-0,a-1,a-2,a-3 b-0,b-1,b-2,b-3  sets of runs over their seeds: is one better, and how surely
  menon diagnose RUN                           what is wrong with a run: cause, evidence, what to change
  menon sample MODEL 'QUESTION' n=4            answers with log-probs, coloured by each token's uncertainty
  menon posterior MODEL method=suffix_mh       draws from the best policy for a reward and a KL, untrained
  menon explain RECIPE key=value               formula, parts, sizes, memory before anything runs; full=true
  menon simulate devices=8,64 lengths=RUN      how fast a cluster would train, in turns or asynchronously
  menon sweep grpo rloo seeds=0,1,2            recipes or settings, each with several seeds, in one table
  menon sweep --resume FOLDER                  go on with a sweep; it may add seeds and arms
  menon runs [FOLDER]                          the runs in a folder: state, what differs, before and after
  menon report RUN                             a run on one page: curves, answers, distance, time
  menon report runs/a runs/b                   several runs on one page, or all of a sweep
  menon check verifier FILE.jsonl              does a verifier say what labelled answers deserve, and in time
  menon check judge FILE.jsonl model=FOLDER    a judge: agreement with labels, kappa, calibration
  menon check code FILE.jsonl                  does the code reward judge labelled programs, and hold them
  menon check data data=FILE model=NAME        dry run of menon train: its first prompt, answers and faults
  menon check data FILE                        does every gold answer earn the full reward
  menon check sync grpo data=FILE.jsonl        do new weights reach the sampler, and no cache of old ones
  menon check gradient RECIPE key=value        is a run's gradient the same by another cut and on ranks
  menon study entropy RUN                      a run's entropy: law and forecast, forking tokens, overlap
  menon study forecast RUN                     where a run is going: two laws with intervals and their record
  menon workbench RUNS                         runs in a local web page: curves, answers, tokens, causes
  menon import FOLDER out=RUN                  a dump of verl, TRL, prime-rl, ... as a run folder
  menon serve MODEL port=8000                  a model for clients of OpenAI's API, with log-probs
  menon show RUN step=5                        what a step wrote: every group's question and rewards
  menon show RUN step=5 group=3                a group's answers: reward, advantage, ratios; or a tree
  menon show RUN step=5 group=3 answer=2       an answer token by token: probability, entropy, ratio
  menon replay RUN step=5 kl_cov               what another algorithm would have done with a step's text
  menon rescore RUN --reward math              what another reward says of the answers that a run has stored
  menon help NAME                              a setting, recipe, part or metric, such as reward, gspo, kl/old
  menon cluster up HOST HOST                   Ray on plain hosts, for placement=ray; down ends it
  menon doctor                                 what this machine has, and what is missing for what
  menon pretrain out=FOLDER                    make the built-in base model from nothing

Recipes:
{recipes}

Settings are key=value; a dot goes inside, and a part is named by its kind:
  steps=100  learning_rate=3e-4  samples_per_prompt=16  max_new_tokens=512
  out=runs/mine  threads=4  reward=my_file.py:my_function
  objective.policy.loss.clip_high=.28  objective.policy='{loss: gspo, share: sequence_mean}'

  --debug    show stack traces       --version       menon COMMAND --help: its settings
"""

COMMANDS = {
    "train": "command:train",
    "sweep": "sweep:sweep",
    "pretrain": "command:pretrain",
    "eval": "evaluate:evaluate",
    "compare": "compare:compare",
    "diagnose": "diagnose:diagnose",
    "report": "report:report",
    "sample": "sample:sample",
    "posterior": "posterior:posterior",
    "explain": "explain:explain",
    "simulate": "simulate:simulate",
    "runs": "runs:runs",
    "check": "check:check",
    "study": "study:study",
    "rescore": "rescore:rescore",
    "export": "export:export",
    "show": "show:show",
    "replay": "replay:replay",
    "workbench": "workbench:workbench",
    "serve": "serve:serve",
    "import": "import_run:import_run",
    "cluster": "cluster:cluster",
    "doctor": "doctor:doctor",
}
"""Command -> module of this package and its function, which is imported when the command is used."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. A user's mistake prints one sentence and gives 2, a run
    that was stopped because it learned nothing 3; a fault of menon prints one sentence and gives 1."""
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    with printable_output():
        return ended(lambda: run([word for word in words if word != "--debug"]), debug)


def ended(command: Callable[[], int], debug: bool) -> int:
    """The exit code of a command; says what ended it."""
    try:
        return command()
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            sys.excepthook = traced
            raise
        sentence = sentence_for(error)
        print(f"menon: {sentence or fault(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 2) if sentence else 1


def run(words: list[str]) -> int:
    """Runs the command that the words name, or prints help; returns its exit code."""
    if not words or words[0] == "help" or "--help" in words or "-h" in words:
        print(help_about(words), end="")
        return 0
    if words == ["--version"]:
        from menon import __version__

        print(f"menon {__version__}")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        from menon.recipes import PIPELINES, RECIPES

        if command in RECIPES or command in PIPELINES:
            raise UserError(f"{command} is a recipe; type `menon train {command}`")
        near = nearest(command, [*COMMANDS, "--version", "--help"], lists="menon --help")
        raise UserError(f"there is no command '{command}'{near}")
    from menon.cli.words import check_once

    check_once(rest)
    module, _, name = COMMANDS[command].partition(":")
    return int(getattr(import_module(f"menon.cli.{module}"), name)(rest))


def help_about(words: Sequence[str]) -> str:
    """The text of `menon help [NAME]`, `menon COMMAND [RECIPE] --help` and `menon --help`."""
    names = [word for word in words if word not in ("help", "--help", "-h")]
    if names and names[0] in COMMANDS:
        from menon.cli.help import help_of

        module, _, name = COMMANDS[names[0]].partition(":")
        return help_of(names[0], names[1:], HELP, (module, name))
    if not names:
        return help_text()
    from menon.cli.lookup import help_for

    return "\n".join(map(help_for, names))


def help_text() -> str:
    """The general help, folded to the width of the terminal."""
    from menon.recipes import PIPELINES, RECIPES

    width = max(map(len, RECIPES))
    recipes = "\n".join(f"  {name:<{width}}  {what}" for name, what in (RECIPES | PIPELINES).items())
    text = HELP.replace("{recipes}", recipes)
    return "".join(
        f"{line}\n" for line in folded(text.splitlines(), shutil.get_terminal_size((130, 24)).columns)
    )


def folded(lines: Sequence[str], width: int) -> Iterator[str]:
    """The lines folded to this width, at least 72. Text after a gap of two spaces continues below itself."""
    for line in lines:
        _, gap, right = line.rpartition("  ")
        indent = " " * (len(line) - len(right)) if gap else ""
        yield from textwrap.wrap(line, max(width, 72), subsequent_indent=indent, break_on_hyphens=False) or [
            ""
        ]


def sentence_for(error: BaseException) -> str:
    """The sentence for the user, for errors that are not faults of the program; else ""."""
    from menon.user_code import own_fault

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; lower tokens_per_forward and slots, or take a smaller model"
    if isinstance(error, ImportError | OSError) and "failed to map segment" in str(error):
        return "there is no memory to load the libraries; raise `ulimit -v`, or stop what else runs here"
    if said := own_fault(error):
        return said
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("menon"):
        return (
            f"the package '{error.name}' is missing; install it, or install menon again with its dependencies"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return ""


def traced(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints a stack trace, whose message may be somebody else's text."""
    with printable_output():
        traceback.print_exception(kind, error, trace)


def fault(error: BaseException) -> str:
    """The sentence for a fault of the program itself; it says where the stack trace was written."""
    trace = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="menon-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(trace)
    what = " ".join(str(error).split())[:200]
    return (
        f"a fault in menon itself ({type(error).__name__}: {what}); please report it with {file.name} "
        "(--debug shows it here)"
    )
