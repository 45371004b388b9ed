"""What must never be shown: values are remembered here once they are read, and taken out of every text that goes out.

One place for errors, tables, plans and logs. A value is found again in the ways in which programs quote it: as it is,
in a SQL string, in Python's and JSON's notation, in bytes. Settings whose names say what they are, are blanked by their
names as well, so that a password that stands in a SQL file as plain text is not shown either.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import quote

from thalweg.connector.jaas import escape_jaas

__all__ = ["guard_logs", "guard_tracebacks", "is_sensitive", "redacted", "remember"]

HIDDEN = "***"
_SHORTEST = 6
"""Characters: shorter values are hidden by name alone, as they would blank half of any text."""

_SENSITIVE = re.compile(
    r"password|passwd|secret|credential|api-?key|access-?key|jaas\.config|keystore\.key|token$", re.IGNORECASE
)
# name = value, 'name' = 'value', "name": "value" and password="value" alike; a value without quotes ends at a blank. It
# begins where a word does: a long word would otherwise be tried from each of its signs.
_SETTING = re.compile(
    r"""((?P<around>['"]?)(?<![\w.\-])(?P<name>[\w.\-]+)(?P=around)\s*(?:=|:(?=\s*['"]))\s*)
        ('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^\s'",;)}\]]+)""",
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 4
_known: dict[str, None] = {}
_lock = threading.Lock()


def is_sensitive(name: str) -> bool:
    """Return whether a setting of this name holds a secret.

    Examples
    --------
    >>> is_sensitive("properties.sasl.jaas.config"), is_sensitive("ssl.truststore.location")
    (True, False)
    """
    return _SENSITIVE.search(name) is not None


def remember(value: str) -> str:
    """Keep ``value`` out of every text from now on, and return it."""
    if len(value) >= _SHORTEST:
        with _lock:
            _known.update(dict.fromkeys(sorted(_variants(value))))
    return value


def redacted(text: str, by_name: bool = True) -> str:
    """Return ``text`` without what was remembered, and without the values of settings that hold secrets.

    Parameters
    ----------
    text : str
        What is about to be shown.
    by_name : bool
        Whether to blank settings by their names; not where data is shown, whose columns may have such names.

    Examples
    --------
    >>> redacted("'ssl.key.password' = 'abc', 'topic' = 't'")
    "'ssl.key.password' = '***', 'topic' = 't'"
    """
    with _lock:
        # A value may hold another one: the longest goes first.
        known = sorted(_known, key=len, reverse=True)
    for value in known:
        text = text.replace(value, HIDDEN)
    return _by_name(text, 0) if by_name else text


def _by_name(text: str, depth: int) -> str:
    """Blank settings by name; a value may hold settings itself, as that of a login does."""

    def blanked(found: re.Match[str]) -> str:
        value = found[4]
        mark = value[0] if value[0] in "'\"" else ""
        if is_sensitive(found["name"]):
            return f"{found[1]}{mark}{HIDDEN}{mark}"
        if mark and depth < _DEEPEST:
            return f"{found[1]}{mark}{_by_name(value[1:-1], depth + 1)}{mark}"
        return found[0]

    return _SETTING.sub(blanked, text)


def _variants(value: str) -> Iterable[str]:
    """Return the ways in which programs quote a value."""
    raw = repr(value.encode())[2:-1].replace("\\'", "'")
    shown = repr(value)[1:-1].replace("\\'", "'")
    found = {value, raw, shown, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {escape_jaas(value), value.replace("\\", "\\\\").replace('"', '\\"'), quote(value, safe="")}
    found |= {text.replace("'", mark) for text in tuple(found) for mark in ("''", "\\'")}
    # A value of several lines, such as a key in PEM, is shown line by line.
    found |= {line for line in value.splitlines() if len(line) >= 16 and not line.startswith("-----")}
    return found


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        try:
            said = record.getMessage()
        except Exception:  # a record that cannot be formatted is its handler's to report
            return True
        shown = redacted(said)
        if shown != said:
            record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return True


_FILTER = _Filter()


def guard_logs(package: str) -> None:
    """Let the loggers of a package that there are now say nothing that was remembered, at any level.

    kafka-python logs its configuration and each request at DEBUG, and a request carries the password.
    """
    for name in [package, *(name for name in list(logging.root.manager.loggerDict) if name.startswith(f"{package}."))]:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.addFilter(_FILTER)


def guard_tracebacks() -> None:
    """Let an error that nobody has foreseen end the program without what was remembered in its text."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))

    sys.excepthook = tell
