"""`menon check gradient`: does the gradient of a run depend on how it is computed?"""

from collections.abc import Sequence

from menon.assembly.run import configured
from menon.cli.trial import to_try


def check_gradient(words: Sequence[str]) -> int:
    """Takes the words of `menon train`, trains nothing and writes no file. It lets the run write the text of
    one small step (4 questions, or 16 rows) and computes the gradient of the first update of each model three
    times: as the run does, with one unit in each forward pass, and shared by ranks (those of the run, or 2).

    The last line is `gradient ok`, or `gradient differs: WHAT` with exit code 1."""
    asked, chosen = to_try(words, "the gradient is that of a run that has not begun")
    from menon.assembly.check_gradient import BOUNDS, GradientCheck

    config = configured(asked.recipe, asked.changes, chosen.count, asked.again)
    bound, wrong = BOUNDS[config.engine.dtype], []
    check = GradientCheck(config, lambda sentence: print(f"menon: {sentence}", flush=True))
    for one in check.compared():
        line = f"{one.role} {one.how}: relative difference {one.apart:.1e}"
        print(f"{line} (at most {bound:g}; norm {one.norm:.3g})", flush=True)
        if not one.apart <= bound:
            wrong.append(f"{one.role} {one.how}")
    print(f"gradient differs: {'; '.join(wrong)}" if wrong else "gradient ok", flush=True)
    return 1 if wrong else 0
