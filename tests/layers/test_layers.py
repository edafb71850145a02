"""The table of who may import whom (docs/architecture.md), held by walking every import of the package."""

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

import menon

PACKAGE = Path(menon.__file__).parent
OPEN = {
    *("recipes", "cli", "study", "workbench", "serve", "assembly", "base", "pipeline"),
    *(
        "config",
        "engine_settings",
        "old_formats",
        "validate",
        "columns",
        "settings",
        "short_names",
        "other_names",
        "metric_names",
        "user_code",
        "threads",
        "errors",
        "overrides",
        "python",
        "results",
        "__init__",
        "__main__",
    ),
}

TEXTS = {"menon.foreign", "menon.printable", "menon.task_tests", "menon.unpacking"}
STANDARD = {"numpy", "menon.errors", "menon.parts", "menon.thought"} | TEXTS
DATA = STANDARD | {"torch", "menon.types", "menon.streams", "menon.batch", "menon.ragged", "menon.truth"}
PROTOCOLS = {
    "menon.rollout.protocols",
    "menon.update.protocols",
    "menon.update.host",
    "menon.sync.protocols",
    "menon.source.protocols",
}
ARITHMETIC = {"menon.moments", "menon.adaptive_kl"}

MAY: dict[str, set[str]] = {
    "errors": set(),
    "types": {"numpy", "menon.errors"},
    "parts": {"menon.types", "menon.errors"},
    "thought": set(),
    "foreign": set(),
    "task_tests": set(),
    "printable": {"rich"},
    "unpacking": {"menon.errors", "pyarrow"},
    "compiled": {"numba"},
    "streams": {"numpy"},
    "intervals": {"numpy", "menon.streams"},
    "truth": {"menon.types", "menon.errors"},
    "http": {"httpx2", "tenacity"},
    "openai_api": {"menon.openai_api", "menon.errors", "menon.types", "menon.record.spans", "starlette"},
    "processes": {"menon.errors", "menon.processes", "menon.printable"},
    "ragged": {"torch"},
    "limit": set(),
    "docstrings": set(),
    "state_codec": {"numpy", "torch"},
    "batch": {"numpy", "torch", "menon.types", "menon.ragged", "menon.errors"},
    "moments": DATA,
    "adaptive_kl": DATA,
    "prompts": STANDARD | {"menon.types", "menon.limit", "menon.streams", "menon.prompts", "pyarrow"},
    "reward": STANDARD
    | {"menon.types", "menon.user_code", "menon.processes", "menon.reward", "menon.sandbox"}
    | {"math_verify", "latex2sympy2_extended", "mpmath"},
    "sandbox": STANDARD | {"menon.types", "menon.http", "menon.sandbox"},
    "arrange": DATA | {"menon.arrange"},
    "advantage": DATA | ARITHMETIC | {"menon.advantage"},
    "shaping": DATA | ARITHMETIC | {"menon.shaping"},
    "control": DATA | ARITHMETIC | {"menon.control"},
    "select": DATA | {"menon.select"} | PROTOCOLS,
    "loss": DATA | {"menon.loss"} | PROTOCOLS,
    "correction": DATA | {"menon.correction"} | PROTOCOLS,
    "rollout": DATA
    | {"menon.rollout", "pydantic", "menon.processes", "menon.user_code", "menon.sandbox"}
    | {"verifiers", "aiohttp", "httpx", "menon.openai_api", "starlette", "uvicorn"}
    | PROTOCOLS,
    "update": DATA | {"menon.update"} | PROTOCOLS,
    "sync": DATA | {"menon.sync", "menon.compiled"} | PROTOCOLS,
    "source": DATA | {"menon.source"} | PROTOCOLS,
    "record": DATA
    | {"menon.record", "menon.state_codec", "menon.settings", "menon.intervals", "menon.__version__"}
    | {"pyarrow", "safetensors", "psutil", "wandb", "mlflow", "trackio"}
    | PROTOCOLS,
    "step": DATA | {"menon.record", "menon.update"} | PROTOCOLS,
    "loop": DATA | {"menon.record", "menon.step"} | PROTOCOLS,
    "simulate": DATA
    | {f"menon.{part}" for part in ("simulate", "source", "rollout", "record", "step", "loop")}
    | {f"menon.{part}" for part in ("advantage", "loss")}
    | PROTOCOLS
    | {"menon.update.terms"},
    "report": STANDARD
    | {"menon.record", "menon.report", "menon.settings", "menon.types", "menon.__version__", "rich"},
    "eval": STANDARD
    | {f"menon.{part}" for part in ("types", "streams", "settings", "eval", "prompts", "reward", "record")}
    | {"menon.intervals", "menon.truth"}
    | {f"menon.rollout.{part}" for part in ("protocols", "groups", "turns", "environments")}
    | {"lm_eval", "nltk", "langdetect"},
    "engines": DATA
    | {
        f"menon.{part}"
        for part in (
            *("update", "rollout", "sync", "processes", "http", "engines", "limit", "state_codec"),
            "compiled",
        )
    }
    | {
        "transformers",
        "tokenizers",
        "safetensors",
        "huggingface_hub",
        "psutil",
        "numba",
        "ray",
        "peft",
        "vllm",
    },
}
"""Room of the package -> prefixes of what it may import beside the standard library."""

NEVER = {
    "arrange": "torch.distributed",
    "advantage": "torch.distributed",
    "select": "torch.distributed",
    "loss": "torch.distributed",
}


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
    edge = {"menon.recipes", "menon.cli", "menon.study", "menon.workbench", "menon.serve", "menon.pipeline"}
    wrong = [
        (str(path), name)
        for part, path in parts()
        if part not in OPEN
        for name in imports(path)
        if allowed(name, edge)
    ]
    assert wrong == []


def test_assembly_is_for_the_edge_alone():
    """What builds runs is imported by what starts them, and by nothing that runs in one."""
    edge = {"assembly", "pipeline", "cli", "study", "workbench", "serve", "python", "__init__", "__main__"}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for part, path in parts()
        if part not in edge
        for name in imports(path)
        if allowed(name, {"menon.assembly"})
    ]
    assert wrong == []


def module_imports(tree: ast.Module, modules: Collection[str]) -> set[str]:
    """Modules of the package that are imported when a module is, for type checkers too; not inside
    functions."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` names the module; other names are the package's own.
            found |= {name if name in modules else node.module for name in inner}
    return found & set(modules)


def circles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node, or that name themselves (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1 or node in graph[node]:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a", "d"], "e": ["d"]}) == [
        ["a", "b", "c"],
        ["d"],
    ]


def test_no_import_circle_exists():
    trees = {}
    for _, path in parts():
        name = ".".join(("menon", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    assert circles({name: sorted(module_imports(tree, trees)) for name, tree in trees.items()}) == []


def test_code_stays_small():
    """No function over 60 lines, no file over 450; files of the engines under 300, step.py under 120."""
    long = []
    for _, path in parts():
        text = path.read_text(encoding="utf-8")
        most = 120 if path.name == "step.py" else 299 if "engines" in path.parts else 450
        if text.count("\n") > most:
            long.append(f"{path.name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    long.append(f"{path.name}:{node.name}: {size} lines")
    assert long == []


def test_few_functions_take_the_whole_configuration():
    """A function that takes one owner's settings can be read, tested and reused without the others."""
    found = []
    for _, path in parts():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = [each.annotation for each in (*node.args.args, *node.args.kwonlyargs)]
                if any(each is not None and "RunConfig" in ast.unparse(each) for each in given):
                    found.append(f"{path.relative_to(PACKAGE)}: {node.name}")
    assert len(found) <= 10, found
