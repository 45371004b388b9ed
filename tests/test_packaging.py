"""Thalweg is the same thing in three shapes: a wheel, an editable install, and the zip for ``-pyfs``."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
from thalweg.jobs.bundle import bundle

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("connector", "udfs", "jobs")


def content(root: Path) -> tuple[set[str], set[str]]:
    """The code and the data that ``root`` has to ship."""
    code = {str(path.relative_to(root)) for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    patterns = ("*/py.typed", "connector/jars/pom.xml", "connector/schemas/*.avsc", "jobs/recipes/*.sql")
    data = {str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern)}
    assert len(data) > 10
    return code, data


# Imports everything, reads all data, and says where it came from.
PROBE = """
import hashlib, json, sys
sys.path[:] = json.loads(sys.argv[1]) + sys.path
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files

modules = [import_module(name) for name in json.loads(sys.argv[2])]
data = {}
for name in json.loads(sys.argv[3]):
    package, _, rest = name.partition("/")
    data[name] = len(files("thalweg." + package).joinpath(rest).read_bytes())

from thalweg.connector.wire import SCHEMAS, schema
from thalweg.jobs.bundle import bundle
from thalweg.jobs.jars import pins

print(json.dumps({
    "origins": sorted({module.__file__ for module in modules}),
    "data": data,
    "schemas": [schema(name)["name"] for name in SCHEMAS],
    "pins": pins("job"),
    "version": version("thalweg"),
    "bundle": hashlib.sha256(bundle()).hexdigest(),
}))
"""


def module(path: str) -> str:
    return "thalweg." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def probe(root: Path, path: list[str], *flags: str, cwd: Path) -> dict[str, Any]:
    code, data = content(root)
    words = (path, sorted(map(module, code)), sorted(data))
    command = [sys.executable, *flags, "-c", PROBE, *map(json.dumps, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert all(found["data"][name] > 0 for name in data if not name.endswith("py.typed"))
    assert len(found["schemas"]) == sum(name.endswith(".avsc") for name in data) > 0
    assert found["version"] == "0.1.0"
    assert found["bundle"] == hashlib.sha256(bundle()).hexdigest(), "the zip differs with where it is made"
    return found


def isolated(root: Path, target: Path, cwd: Path) -> dict[str, Any]:
    # -I -S: neither the working directory nor the editable install's hook; the requirements are put back by hand.
    return probe(root, [str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")], "-I", "-S", cwd=cwd)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves folders that a later one would pack again."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(source / "dist"),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "absent from the `packages` configuration" not in done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_wheel_holds_all_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        points = archive.read("thalweg-0.1.0.dist-info/entry_points.txt").decode()
    code, data = content(wheel.parent.parent)
    assert sorted(names) == sorted(f"thalweg/{name}" for name in code | data)
    assert "thalweg = thalweg.jobs.cli:main" in points
    assert "river = thalweg.udfs.engines.river_engine:RiverEngine" in points


def test_wheel_works(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    found = isolated(wheel.parent.parent, tmp_path / "site", tmp_path)
    assert all(origin.startswith(str(tmp_path / "site")) for origin in found["origins"])


def test_editable_install_works(tmp_path: Path) -> None:
    found = probe(ROOT, [], "-I", cwd=tmp_path)
    assert all(Path(origin).resolve().is_relative_to(ROOT) for origin in found["origins"])


def test_bundle_works_from_the_python_path(tmp_path: Path) -> None:
    target = tmp_path / "thalweg.zip"
    target.write_bytes(bundle())
    found = isolated(ROOT, target, tmp_path)
    assert all(origin.startswith(str(target)) for origin in found["origins"])


def test_bundle_holds_all_and_is_the_same_each_time(tmp_path: Path) -> None:
    code, data = content(ROOT)
    first = bundle()
    assert bundle() == first
    (tmp_path / "a.zip").write_bytes(first)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        entries = archive.infolist()
    files = [entry.filename for entry in entries if not entry.is_dir()]
    assert files == sorted([*(f"thalweg/{name}" for name in code | data), "thalweg-0.1.0.dist-info/METADATA"])
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
