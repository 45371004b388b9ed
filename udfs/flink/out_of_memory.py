"""Ends a Python worker that has no memory left, before it waits for ever.

Where a new thread finds no memory to begin with, Python says so and goes on, and the thread that started it waits for
it without an end (CPython's ``Thread.start``). Beam starts a thread for each bundle: the job would stand still, neither
failed nor going on. Where the thread is refused the task fails, and Flink starts it again in the very same worker, over
and over. A worker that ends is started anew, from the last checkpoint.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Iterator, Set
from types import FrameType
from typing import Any

__all__ = ["end_when_out_of_memory", "end_where_no_memory_is_left"]

_EXIT_CODE = 137  # that of a process which the kernel ends for want of memory
_ROOM = 1 << 20  # bytes
_DEPTH = 4  # of the frame in which a thread waits for another one to begin


def end_when_out_of_memory() -> None:
    """Let this process end with exit code 137 when a thread of it has died for want of memory.

    An error that reaches a function's caller is none of these: it fails the task, which Flink starts again.
    ``end_where_no_memory_is_left`` is for a worker that goes on like that.
    """
    if getattr(threading.excepthook, "__module__", "") == __name__:
        return
    told_of_thread, told_of_rest = threading.excepthook, sys.unraisablehook

    def of_thread(args: Any) -> None:
        _end_where_none_is_left(args.exc_type, args.exc_value)
        told_of_thread(args)

    def of_rest(args: Any) -> None:
        _end_where_none_is_left(args.exc_type, args.exc_value)
        told_of_rest(args)

    threading.excepthook, sys.unraisablehook = of_thread, of_rest


def end_where_no_memory_is_left(waited_for: Set[str] = frozenset()) -> set[str]:
    """Try to get a little memory and a thread, and end this process with exit code 137 where there is none.

    So it ends where somebody still waits for a thread to begin that was waited for at the last look.

    Parameters
    ----------
    waited_for : set of str
        What the last call returned.

    Returns
    -------
    set of str
        Names of the threads that have been started and have not begun: hardly ever any, for that takes microseconds.
    """
    try:
        bytearray(_ROOM)
        # One of the threading module would be waited for, which is what may never end.
        _thread.start_new_thread(int, ())
        starting = set(_starting())
    except (MemoryError, RuntimeError):
        os._exit(_EXIT_CODE)
    if starting & waited_for:
        os._exit(_EXIT_CODE)
    return starting


def _starting() -> Iterator[str]:
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        for _ in range(_DEPTH):
            if frame is None:
                break
            if frame.f_code is threading.Thread.start.__code__:
                yield frame.f_locals["self"].name
                break
            frame = frame.f_back


def _end_where_none_is_left(kind: type[BaseException] | None, error: BaseException | None) -> None:
    lacking = kind is not None and issubclass(kind, MemoryError)
    if lacking or (kind is RuntimeError and "can't start new thread" in str(error)):
        os._exit(_EXIT_CODE)  # at once: whatever else one does here needs memory
