"""Machine code for the loops of MIDAS, kept on disk where there is a place for it."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast


def _import_numba() -> Any:
    """Import Numba where PyFlink's worker has put a method of its own in the place of ``print``.

    Numba looks for ``print`` by its name in the module that it says it is from, and that one is not there.
    """
    shown = builtins.print
    builtins.print = getattr(getattr(shown, "__self__", None), "_print", shown)
    try:
        import numba
    finally:
        builtins.print = shown
    return numba


numba = _import_numba()

__all__ = ["compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Return ``function`` as Numba compiles it at its first call, without fast-math: the same bits everywhere.

    What was compiled is kept beside the source, or in the user's cache folder. From a place where nothing can be
    written (a read-only image, a user without a home) it is compiled once in each process instead.
    """
    try:
        kept = numba.njit(cache=True, error_model="numpy")(function)
        # Numba may find only at the first call that its folder cannot be used.
        os.makedirs(kept.stats.cache_path, exist_ok=True)
        with TemporaryFile(dir=kept.stats.cache_path):
            return cast("_Function", kept)
    except (OSError, RuntimeError):
        return cast("_Function", numba.njit(error_model="numpy")(function))
