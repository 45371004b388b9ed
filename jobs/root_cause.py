"""What went wrong, in one sentence, out of a Java stack trace."""

from __future__ import annotations

import re

from thalweg.connector.redaction import redacted

__all__ = ["root_cause"]

_JAVA_CLASS = re.compile(r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error)[\w$]*:\s*")

_SCHEMAS = re.compile(r"Cause: |Query schema:|Sink schema:")


def root_cause(error: BaseException | str) -> str:
    """Return what went wrong, as one sentence, without secrets that it may quote.

    Parameters
    ----------
    error : BaseException or str
        What PyFlink raised, or a stack trace as Flink's REST endpoint gives it.

    Examples
    --------
    >>> root_cause('java.lang.RuntimeException: no\\n\\tat a.B.c\\nCaused by: java.io.IOException: the disk is full\\n')
    'the disk is full'
    """
    text = str(error)
    if "Traceback (most recent call last):" in text:
        # An error inside a Python function: the last line of its traceback, not that of the Java stack around it.
        tail = text.rpartition("Traceback (most recent call last):")[2]
        ends = [line for line in tail.splitlines() if re.match(r"[\w.]+(?:Error|Exception|Interrupt)\b", line)]
        if ends:
            return redacted(ends[0].strip())
    causes = [line.strip().removeprefix("Caused by: ") for line in text.splitlines() if line.startswith("Caused by: ")]
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    if lines and lines[0].startswith("An error occurred while calling"):
        lines = [lines[1].removeprefix(": ")] if len(lines) > 1 else lines
    chosen = causes[-1] if causes else (lines[0] if lines else type(error).__name__)
    if chosen.rstrip().endswith("do not match."):
        # What does not match stands on lines of its own: without them nobody can tell which column it is.
        chosen = " ".join(
            [chosen.strip(), *(" ".join(line.split()) for line in text.splitlines() if _SCHEMAS.match(line))]
        )
    return redacted(_JAVA_CLASS.sub("", chosen).strip())
