"""README's table of versions is the stored outcome of ``make matrix``, and that is of this version and of our pins."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import matrix
import pytest
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from thalweg.jobs.jars import pins

ROOT = Path(__file__).resolve().parent.parent
ROW = {"flink": "2.3", "python": "3.9", "kafka": "4.1", "functions": "passed", "learning": "passed", "versions": {}}


def test_the_table_of_the_readme_is_what_was_found() -> None:
    assert matrix.table(matrix.stored()) in (ROOT / "README.md").read_text("utf-8"), "python tests/matrix.py --markdown"


def test_what_was_found_is_of_every_combination_and_of_this_version() -> None:
    found = matrix.stored()
    names = {(row["flink"], row["python"], row["kafka"]) for row in found}
    assert names == {(f, p, k) for f in matrix.FLINKS for p in matrix.PYTHONS for k in matrix.KAFKAS}
    for row in found:
        if row["versions"]:
            flink = matrix.FLINKS[row["flink"]][0]
            assert (row["versions"]["thalweg"], row["versions"]["apache-flink"]) == (version("thalweg"), flink)
            # A requirement that has moved since is not what was tried.
            assert row["versions"]["river"] == version("river")


def test_what_is_tried_is_what_we_ship() -> None:
    assert dict(pins("broker"))["kafka_2.13"] in matrix.KAFKAS.values()
    assert (version("apache-flink"), dict(pins("job"))["flink-sql-avro"]) in matrix.FLINKS.values()
    allowed = re.search(r'requires-python = "(.+?)"', (ROOT / "pyproject.toml").read_text())
    assert allowed
    assert [f"3.{n}" for n in range(30) if f"3.{n}" in SpecifierSet(allowed[1])] == list(matrix.PYTHONS)


def test_a_new_outcome_takes_the_place_of_the_old_one_and_reasons_are_told() -> None:
    amiss = {**ROW, "python": "3.10", "learning": "no answer"}
    rows = matrix.merged([ROW, amiss], [{**ROW, "learning": "late"}, {**ROW, "kafka": "3.9"}])
    assert [(row["python"], row["kafka"]) for row in rows] == [("3.10", "4.1"), ("3.9", "4.1"), ("3.9", "3.9")]
    assert matrix.table(rows).splitlines()[2:] == [
        "| 2.3 | 3.10 | passed | 4.1: no answer |",
        "| 2.3 | 3.9 | passed | 3.9: passed; 4.1: late |",
    ]


def test_a_reason_is_one_line_that_a_table_can_hold() -> None:
    with pytest.raises(matrix.Amiss, match=r"^ValueError: a / b c$"):
        matrix._run(["python", "-c", "raise ValueError('a | b  c')"], 60)
    with pytest.raises(matrix.Amiss, match="no end within 0 s"):
        matrix._run(["sleep", "5"], 0.01)


def test_the_table_can_be_printed_without_a_run() -> None:
    told = CliRunner().invoke(matrix.main, ["--markdown"])
    assert told.output == matrix.table(matrix.stored())
