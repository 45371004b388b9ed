"""Ends a Python worker whose Flink is gone.

When a TaskManager is killed, some of its Python workers stay: their log went to it, and the thread that tells of the
lost connection waits for a lock that the one which closes the log holds. Their models stay in memory with them, and
the shell that started them waits for ever.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from thalweg.udfs.flink.out_of_memory import end_when_out_of_memory, end_where_no_memory_is_left

__all__ = ["end_with_flink"]

_PROC = Path("/proc")
_watching = threading.Lock()


def end_with_flink(program: str = "java", poll_s: float = 5.0) -> bool:
    """Let this process end soon after the process of Flink that it works for, whatever ended that; or without memory.

    Called by every function and operator when it opens; the first call in a process starts the watch, later ones do
    nothing. Where there is no such ancestor (a job in the client's own process) or no ``/proc``, there is none.

    Parameters
    ----------
    program : str
        Name of the program to look for among the ancestors of this process.
    poll_s : float
        Seconds between two looks.

    Returns
    -------
    bool
        Whether this call has started to watch.
    """
    found = _ancestor(program)
    if found is not None:
        end_when_out_of_memory()
    if found is None or not _watching.acquire(blocking=False):
        return False
    threading.Thread(target=_watch, args=(*found, poll_s), name="thalweg-end-with-flink", daemon=True).start()
    return True


def _ancestor(program: str) -> tuple[int, str] | None:
    """Return process id and start time of the nearest ancestor that runs ``program``."""
    pid = os.getpid()
    while pid > 1:
        known = _look(pid)
        if known is None:
            return None
        name, parent, began = known
        if name == program:
            return pid, began
        pid = parent
    return None


def _look(pid: int) -> tuple[str, int, str] | None:
    """Return name, parent and start time of a process; None where it has ended, or cannot be seen."""
    try:
        head, _, tail = (_PROC / str(pid) / "stat").read_text().rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    return head.partition("(")[2], int(fields[1]), fields[19] if fields[0] not in ("Z", "X") else ""


def _watch(pid: int, began: str, poll_s: float) -> None:
    # A process id is used again: only with its start time is it the same process.
    waited_for: set[str] = set()
    while (known := _look(pid)) is not None and known[2] == began:
        time.sleep(poll_s)
        waited_for = end_where_no_memory_is_left(waited_for)
    # Without a word: the handler of the log is what such a worker hangs in, its other threads waiting for its lock.
    os.kill(os.getpid(), signal.SIGKILL)
