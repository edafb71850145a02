"""The table of who may import whom (docs/architecture.md), held by walking every import of the package."""

import ast
from pathlib import Path

import menon

PACKAGE = Path(menon.__file__).parent
OPEN = {
    *("recipes", "cli", "study", "workbench", "assembly", "base"),
    *("config", "validate", "columns", "settings", "user_code", "threads", "errors", "__init__", "__main__"),
}

STANDARD = {"numpy", "menon.errors", "menon.parts"}
DATA = STANDARD | {"torch", "menon.types", "menon.streams", "menon.batch", "menon.ragged"}
PROTOCOLS = {"menon.rollout.protocols", "menon.update.protocols", "menon.sync.protocols"}
ARITHMETIC = {"menon.moments", "menon.adaptive_kl"}

MAY: dict[str, set[str]] = {
    "errors": set(),
    "types": {"numpy", "menon.errors"},
    "parts": {"menon.types", "menon.errors"},
    "streams": {"numpy"},
    "http": {"httpx2", "tenacity"},
    "processes": {"menon.errors", "menon.processes"},
    "ragged": {"torch"},
    "batch": {"numpy", "torch", "menon.types", "menon.ragged", "menon.errors"},
    "moments": DATA,
    "adaptive_kl": DATA,
    "prompts": STANDARD | {"menon.types", "menon.streams", "menon.prompts", "pyarrow"},
    "reward": STANDARD
    | {"menon.types", "menon.user_code", "menon.processes", "menon.reward", "menon.sandbox"}
    | {"math_verify", "latex2sympy2_extended", "mpmath"},
    "sandbox": STANDARD | {"menon.types", "menon.http", "menon.sandbox"},
    "advantage": DATA | ARITHMETIC | {"menon.advantage"},
    "shaping": DATA | ARITHMETIC | {"menon.shaping"},
    "control": DATA | ARITHMETIC | {"menon.control"},
    "select": DATA | {"menon.select"} | PROTOCOLS,
    "loss": DATA | {"menon.loss"} | PROTOCOLS,
    "correction": DATA | {"menon.correction"} | PROTOCOLS,
    "rollout": DATA
    | {"menon.rollout", "pydantic", "menon.processes", "menon.user_code", "menon.sandbox"}
    | PROTOCOLS,
    "update": DATA | {"menon.update"} | PROTOCOLS,
    "sync": DATA | {"menon.sync"} | PROTOCOLS,
    "record": DATA
    | {"menon.record", "menon.__version__", "pyarrow", "safetensors", "psutil", "wandb"}
    | PROTOCOLS,
    "step": DATA | {"menon.record", "menon.update", "menon.rollout", "menon.sync"},
    "loop": DATA | {"menon.record", "menon.update", "menon.rollout", "menon.sync", "menon.step"},
    "offline": DATA | {"menon.update", "menon.step"},
    "report": STANDARD | {"menon.record", "menon.report"},
    "eval": STANDARD
    | {
        f"menon.{part}"
        for part in ("types", "streams", "settings", "eval", "prompts", "reward", "rollout.groups", "record")
    }
    | {"menon.rollout.protocols"},
    "engines": DATA
    | {f"menon.{part}" for part in ("update", "rollout", "sync", "processes", "http", "engines")}
    | {"transformers", "tokenizers", "safetensors", "huggingface_hub", "psutil", "numba"},
}
"""Room of the package -> prefixes of what it may import beside the standard library."""

NEVER = {"advantage": "torch.distributed", "select": "torch.distributed", "loss": "torch.distributed"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module in ("menon", "menon.engines") else {node.module}
    return found


def allowed(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def parts() -> list[tuple[str, Path]]:
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def test_every_part_has_a_row():
    assert {name for name, _ in parts()} <= MAY.keys() | OPEN


def test_imports_obey_the_table():
    import sys

    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for part, path in parts()
        if part in MAY
        for name in sorted(imports(path))
        if name.split(".")[0] not in sys.stdlib_module_names
        and (not allowed(name, MAY[part]) or (part in NEVER and allowed(name, {NEVER[part]})))
    ]
    assert wrong == []


def test_nothing_imports_the_edge():
    edge = {"menon.recipes", "menon.cli", "menon.study", "menon.workbench"}
    wrong = [
        (str(path), name)
        for part, path in parts()
        if part not in OPEN
        for name in imports(path)
        if allowed(name, edge)
    ]
    assert wrong == []


def test_code_stays_small():
    """No function over 60 lines, no file over 400; step.py under 120."""
    long = []
    for _, path in parts():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > (120 if path.name == "step.py" else 400):
            long.append(f"{path.name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    long.append(f"{path.name}:{node.name}: {size} lines")
    assert long == []
