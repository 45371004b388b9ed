"""Who wrote a snapshot (case C59): the versions that are installed, not those that packages say of themselves."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest
import river
from thalweg.udfs.flink import operators
from thalweg.udfs.flink.operators import _writer


def test_versions_are_those_of_the_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river, "__version__", "0.0.1")  # River 0.26.1 says there that it is 0.23.0
    python = f"python {platform.python_version()}"
    assert _writer("river") == f"thalweg {version('thalweg')} / river {version('river')} / {python}"
    assert _writer("midas") == f"thalweg {version('thalweg')} / {python}"


def test_thalweg_on_a_workers_path_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise operators.PackageNotFoundError(name)

    monkeypatch.setattr(operators, "version", nothing)
    assert _writer("river").startswith("thalweg without metadata / river without metadata / python ")
