"""What a release ships, from the script that builds it."""

from __future__ import annotations

import ast
import json
import sys
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path
from types import ModuleType

import pytest
from docker_scripts import docker_script
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return docker_script("release")


def test_the_bill_of_materials_names_all_that_runs_and_nothing_of_the_tests(release: ModuleType) -> None:
    told = json.loads(release.bill_of_materials("thalweg", {"flink-sql-avro-2.3.0.jar": "ab" * 32}))
    found = {part["name"]: part for part in told["components"]}
    for name in (
        "apache-flink",
        "river",
        "numpy",
        "onnxruntime",
        "fastavro",
        "kafka-python",
        "apache-beam",
        "protobuf",
    ):
        assert found[name]["version"] == version(name)
        assert found[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert not {"pytest", "hypothesis", "scikit-learn", "mypy"} & found.keys()
    assert found["flink-sql-avro"]["purl"] == "pkg:maven/org.apache.flink/flink-sql-avro@2.3.0"
    assert found["flink-sql-avro"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert told["metadata"]["component"]["version"] == version("thalweg")


def test_the_wheel_asks_for_all_that_it_imports() -> None:
    """Installed alone it has what it imports: the demo's own modules with the extra ``demo``, the others without."""
    owners = packages_distributions()
    needs = [Requirement(text) for text in requires("thalweg") or []]
    own = {need.name for need in needs if need.marker is None}
    demo = {need.name for need in needs if need.marker and need.marker.evaluate({"extra": "demo"})}
    assert "scikit-learn" in demo
    own |= {Requirement(text).name for text in requires("apache-flink") or []}
    for path in sorted(path for top in ("connector", "udfs", "jobs") for path in (ROOT / top).rglob("*.py")):
        may = own | demo if path.name.startswith("demo") else own
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"thalweg"}:
                assert may & {owner.lower().replace("_", "-") for owner in owners[top]}, f"{path}: {top}"


def test_a_release_has_its_own_section_of_the_changelog(release: ModuleType) -> None:
    log = "# Changelog\n\n## [Unreleased] - 0.2.0\n\n- new\n\n## [0.1.0] - 2026-01-01\n\n- old\n"
    assert release.changes(log, "0.2.0") == "## [Unreleased] - 0.2.0\n\n- new\n\n"
    assert release.changes(log, "0.1.0") == "## [0.1.0] - 2026-01-01\n\n- old\n"
    with pytest.raises(SystemExit, match=r"no section of 0\.3\.0"):
        release.changes(log, "0.3.0")
    assert "### Added" in release.changes((ROOT / "CHANGELOG.md").read_text(), version("thalweg"))
