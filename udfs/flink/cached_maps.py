"""Gives back the memory that removed entries of maps in state leave behind in the Python worker."""

from __future__ import annotations

import ctypes
import gc
from collections import OrderedDict
from typing import Any

__all__ = ["forget_removed", "return_memory"]


def forget_removed(state: Any) -> None:
    """Take what has been removed from a map of the current Flink key out of PyFlink's cache of it.

    PyFlink 2.3 remembers of a removed entry that it is not there, in a cache that holds so many thousands of entries
    per map, and its key in a set that nothing takes it out of again: a job whose users come and go grows for as long
    as it runs. Only for callers that know which keys there are: asking for one that has been taken out is a question
    to Java again. With a PyFlink that keeps its cache in another way nothing is done.

    Parameters
    ----------
    state : MapState
        As the runtime context gave it.
    """
    try:
        internal = state.get_internal_state()
        handler = internal._map_state_handler
        internal.commit()
        cached = handler._state_cache.peek(
            (handler._convert_to_cache_key(internal._state_key), handler._get_cache_token())
        )
        if cached is not None:
            # New ones: neither shrinks when entries are taken out.
            cached._cache = OrderedDict((key, found) for key, found in cached._cache.items() if found[0])
            cached._cached_keys = set(cached._cache)
    except AttributeError:
        return


def return_memory() -> None:
    """Return freed memory to the system, where the C library has a call for it."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass  # not glibc
