"""Machine code for the loops of MIDAS, kept on disk where there is a place for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

import numba

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
