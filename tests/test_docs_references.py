"""What source, tests and documents refer to exists in this repository: sections, test files, metrics."""

import re
from pathlib import Path

from menon.metric_names import METRICS, described

ROOT = Path(__file__).parents[1]
NUMERICS = ROOT / "docs" / "numerics.md"
LAWS = ROOT / "docs" / "laws.md"
FOLDERS = ("src", "tests", "docs", "benchmarks", "scripts", "examples")
TEXT = (".py", ".md", ".txt", ".toml", ".sh", ".yml", ".yaml")
GAP = r"(?:\s*\n\s*(?:#+\s*)?|\s+)"
"""Between two words of a phrase: it may be wrapped, in a docstring or in a comment."""

OUTSIDE = re.compile(rf"\bspecs?{GAP}\d|\b(?:of|by|in){GAP}the{GAP}spec\b", re.IGNORECASE)
MENTION = re.compile(rf"docs/numerics\.md,{GAP}(\d+(?:\.\d+)?(?:{GAP}(?:and|to){GAP}\d+\.\d+)*)")
KEY = re.compile(r"""["']([a-z_0-9]+/[a-z_0-9]+)["']\]?\s*[:=](?!=)""")
"""A metric's name as a key of a dictionary."""


def texts() -> dict[str, str]:
    """Path within the repository -> content, of every text file."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in TEXT)
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files if path.is_file()}


def sections() -> set[str]:
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?) ", NUMERICS.read_text(encoding="utf-8"), re.MULTILINE))


def test_no_reference_to_a_document_that_is_not_here():
    found = {name: OUTSIDE.findall(text) for name, text in texts().items()}
    assert {name: phrases for name, phrases in found.items() if phrases} == {}


def test_sections_that_are_mentioned_exist():
    known = sections()
    assert {"1.1", "5.7", "16.1", "19.6"} <= known
    named = {
        (name, number)
        for name, text in texts().items()
        for mention in MENTION.findall(text)
        for number in re.findall(r"\d+(?:\.\d+)?", mention)
    }
    inside = re.findall(r"\((\d{1,2}\.\d{1,2})[),]", NUMERICS.read_text(encoding="utf-8"))
    named |= {("docs/numerics.md", number) for number in inside}
    assert len({name for name, _ in named}) > 50  # the pattern still finds them
    assert {(name, number) for name, number in named if number not in known} == set()


def test_test_files_of_the_laws_exist_and_each_is_named():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", LAWS.read_text(encoding="utf-8")))
    assert {name for name in named if not (ROOT / name).is_file()} == set()
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "laws").glob("test_*.py")} <= named


def test_every_metric_is_described():
    """And every name that is described is written by the source; those in capitals are put together there."""
    apart = ("src/menon/cli/", "src/menon/metric_names.py", "src/menon/workbench/")
    found = {name: text for name, text in texts().items() if name.startswith("src/menon/")}
    source = [text for name, text in found.items() if not name.startswith(apart)]
    keys = {key for text in source for key in KEY.findall(text)}
    assert len(keys) > 80
    assert {key for key in keys if described(key) is None} == set()
    made = ("cov/top", "refl/per_pattern/", "time/", "reward/parts/")
    names = {name for name in METRICS if name.upper() != name and not re.search("[A-Z]{2}", name)}
    odd = {name for name in names if not any(f'"{name}"' in text for text in source)}
    assert {name for name in odd if not name.startswith(made)} <= {"fingerprint"}
