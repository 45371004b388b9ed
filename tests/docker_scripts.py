"""The scripts of ``docker/`` as modules: they are run by path, and belong to no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["docker_script"]


def docker_script(name: str) -> ModuleType:
    """Return ``docker/<name>.py`` as a module of its own."""
    path = Path(__file__).resolve().parents[1] / "docker" / f"{name}.py"
    found = importlib.util.spec_from_file_location(f"thalweg_{name}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
