"""The examples in the docstrings of udfs and jobs run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    "thalweg." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("jobs", "udfs")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_modules_with_examples() -> None:
    assert {"thalweg.jobs.script", "thalweg.udfs.engines.base"} <= set(MODULES)
