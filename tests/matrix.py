"""Which Flink, Python and Kafka go together: what ``make matrix`` runs. Its outcome is ``tests/matrix.json``.

Each combination gets an environment of its own, with what pip chooses for it today, and the wheel of this tree. The
jars are those of ``connector/jars/pom.xml``, in the versions that the combination asks for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import click
from thalweg.jobs.output import print_table

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "tests" / "matrix.json"
# The newest of each minor: apache-flink, and flink-sql-avro, of which not every version is published.
FLINKS = {"2.3": ("2.3.0", "2.3.0"), "2.2": ("2.2.1", "2.1.0"), "2.1": ("2.1.3", "2.1.0")}
PYTHONS = ("3.10", "3.11", "3.12")
KAFKAS = {"3.9": "3.9.1", "4.1": "4.1.1"}
PASSED = "passed"
_PATIENCE_S = {"install": 3600, "check": 900}


@click.command()
@click.option("--flink", "flinks", multiple=True, type=click.Choice(list(FLINKS)), help="Only these; default: all.")
@click.option("--python", "pythons", multiple=True, type=click.Choice(PYTHONS), help="Only these; default: all.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the environments here, and use those there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--write", is_flag=True, help="Put what was found into tests/matrix.json, for README's table.")
@click.option("--markdown", is_flag=True, help="Print README's table of what is stored, and run nothing.")
def main(
    flinks: Sequence[str], pythons: Sequence[str], folder: Path | None, as_json: bool, write: bool, markdown: bool
) -> None:
    """Try combinations of Flink, Python and Kafka.

    \b
    Example:
      python tests/matrix.py --flink 2.3 --python 3.12 --folder /tmp/matrix
      python tests/matrix.py --markdown
    """
    if markdown:
        click.echo(table(stored()), nl=False)
        return
    with tempfile.TemporaryDirectory(prefix="thalweg-matrix-") as scratch:
        place = (folder or Path(scratch)).absolute()
        wheel = _wheel(place)
        found: list[dict[str, Any]] = []
        for flink in flinks or FLINKS:
            for python in pythons or PYTHONS:
                found += _tried(place, wheel, flink, python)
                if write:  # as soon as it is known: it all takes an hour
                    STORED.write_text(json.dumps(merged(stored(), found), indent=1) + "\n")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table(("Flink", "Python", "Kafka", "functions", "learning", "with"), map(_shown, found))
    sys.exit(any(row[check] != PASSED for row in found for check in ("functions", "learning")))


def stored() -> list[dict[str, Any]]:
    """Return what was found the last time, one row per combination."""
    return list(json.loads(STORED.read_text())) if STORED.exists() else []


def merged(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of both, sorted; of one combination the new one."""
    rows = {(row["flink"], row["python"], row["kafka"]): row for row in (*old, *new)}
    return [rows[name] for name in sorted(rows, key=_order, reverse=True)]


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows as README's table: one line per Flink and Python, and a sentence where something is amiss."""
    lines = ["| Flink | Python | SQL functions | learning, by Kafka broker |", "|---|---|---|---|"]
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["flink"], row["python"]), []).append(row)
    for (flink, python), found in grouped.items():
        told: dict[str, list[str]] = {}
        for row in sorted(found, key=lambda row: _order((row["kafka"],))):
            told.setdefault(row["learning"], []).append(row["kafka"])
        learning = "; ".join(f"{', '.join(kafkas)}: {outcome}" for outcome, kafkas in told.items())
        lines.append(f"| {flink} | {python} | {found[0]['functions']} | {learning} |")
    return "\n".join(lines) + "\n"


def _order(name: Iterable[str]) -> list[list[int]]:
    return [[int(part) for part in version.split(".")] for version in name]


def _shown(row: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return [row["flink"], row["python"], row["kafka"], row["functions"], row["learning"], versions]


def _tried(place: Path, wheel: Path, flink: str, python: str) -> list[dict[str, Any]]:
    """Return the rows of one Flink and Python: one per broker."""
    rows = [
        {"flink": flink, "python": python, "kafka": kafka, "functions": "", "learning": "", "versions": {}}
        for kafka in KAFKAS
    ]
    try:
        environment = _environment(place, wheel, flink, python)
        _pin(environment, flink, next(iter(KAFKAS)))
        versions = _check(environment, place, "functions")
        for row in rows:
            row |= {"functions": PASSED, "versions": versions}
    except Amiss as reason:
        for row in rows:
            row |= {"functions": str(reason), "learning": str(reason)}
        if reason.fatal:
            return rows
    for row in rows:
        try:
            _pin(environment, flink, row["kafka"])
            row |= {"versions": _check(environment, place, "learning"), "learning": PASSED}
        except Amiss as reason:
            row["learning"] = str(reason)
    return rows


class Amiss(Exception):
    """Why a combination does not go, in one sentence; ``fatal`` where there is nothing left to try."""

    def __init__(self, sentence: str, fatal: bool = False) -> None:
        super().__init__(" ".join(sentence.replace("|", "/").split())[:200])
        self.fatal = fatal


def _wheel(place: Path) -> Path:
    """Build the wheel from a copy: a build leaves folders that a later one would pack again."""
    with tempfile.TemporaryDirectory(prefix="thalweg-source-") as copy:
        names = ("connector", "udfs", "jobs", "pyproject.toml", "README.md", "LICENSE")
        subprocess.run(["cp", "-r", *(str(ROOT / name) for name in names), copy], check=True)
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", f"{place}/dist", copy]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (found,) = (place / "dist").glob("*.whl")
    return found


def _environment(place: Path, wheel: Path, flink: str, python: str) -> Path:
    """Return the folder of an environment with this Flink, the other requirements as they resolve, and the wheel."""
    home = place / f"flink-{flink}-python-{python}"
    command = home / "bin" / "python"
    if not command.exists():
        try:
            _run([_interpreter(python), "-m", "venv", str(home)], 300)
        except (OSError, Amiss) as error:
            raise Amiss(f"no Python {python} here", fatal=True) from error
    wanted = [need for need in requires("thalweg") or () if "extra ==" not in need]
    wanted = [need for need in wanted if not need.startswith("apache-flink")] + [f"apache-flink=={FLINKS[flink][0]}"]
    try:
        _run([str(command), "-m", "pip", "install", "-q", *wanted], _PATIENCE_S["install"])
    except Amiss as reason:
        raise Amiss(f"pip: {reason}", fatal=True) from reason
    # Without its requirements: its own bound of Flink is what is tried here.
    _run([str(command), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", str(wheel)], 300)
    return home


def _interpreter(python: str) -> str:
    """Return the newest of pyenv's, which need not be on the path; else what the path has."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{python}.*/bin/python"), key=lambda path: len(str(path)))
    return str(found[-1]) if found else f"python{python}"


def _pin(environment: Path, flink: str, kafka: str) -> None:
    """Let the installed wheel ask for other jars."""
    (pom,) = environment.glob("lib/python*/site-packages/thalweg/connector/jars/pom.xml")
    text = pom.read_text()
    for name, version in (("flink.version", FLINKS[flink][1]), ("kafka.version", KAFKAS[kafka])):
        text = re.sub(rf"(<{name}>).*?(</{name}>)", rf"\g<1>{version}\g<2>", text)
    pom.write_text(text)


def _check(environment: Path, place: Path, name: str) -> dict[str, str]:
    """Run a check, and return the versions that were at work."""
    command = [str(environment / "bin" / "python"), str(ROOT / "tests" / "matrix_check.py"), name]
    told = _run(command, _PATIENCE_S["check"], {"THALWEG_JARS": str(place / "jars"), "PYTHONPATH": ""})
    return dict(json.loads(told.strip().splitlines()[-1]))


def _run(command: list[str], seconds: float, more: dict[str, str] | None = None) -> str:
    """Return what a command prints; raise with the sentence in which it says why it failed."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("FLINK_", "THALWEG_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, env=environment | (more or {}),
            cwd=tempfile.gettempdir(),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Amiss(f"no end within {seconds:.0f} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if re.match(r"ERROR|[\w.]*(Error|Exception)\b", line)]
        raise Amiss((lines or done.stderr.splitlines() or ["failed without a word"])[-1])
    return done.stdout


if __name__ == "__main__":
    main()
