"""The one place that says in which of PyFlink's modes the SQL functions run."""

from __future__ import annotations

import sys

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["require_process"]

_EMBEDDED = "_pemja"  # the module that only an interpreter inside a JVM has


def require_process(function: str) -> None:
    """Raise ConfigError if this Python runs inside the JVM of a TaskManager.

    Flink 2.3 runs vectorised functions and aggregates in a process of their own, whatever ``python.execution-mode`` is.
    A release that did not would share one interpreter among all jobs, together with the threads that follow a topic.
    """
    if _EMBEDDED in sys.modules:
        what = "Flink runs it inside the JVM (python.execution-mode is 'thread'), where its threads outlive the job."
        raise ConfigError([Problem(function, what, "Set python.execution-mode to 'process'.")])
