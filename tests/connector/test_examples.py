"""The examples in the docstrings of the connector run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import thalweg.connector

MODULES = sorted(module.name for module in pkgutil.iter_modules(thalweg.connector.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"thalweg.connector.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_modules_with_examples() -> None:
    assert {"ddl", "snapshot", "sqltypes", "values", "wire"} <= set(MODULES)
