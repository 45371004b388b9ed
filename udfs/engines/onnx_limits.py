"""How large a model file may be: whoever names one must not be able to fill a worker's memory with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["MODEL_BYTES", "check_size", "read_bounded"]

MODEL_BYTES = "THALWEG_MAX_MODEL_BYTES"
"""Environment variable on the workers: most bytes of a model with all its weights; default: 1 GiB."""

_DEFAULT = 1 << 30


def check_size(size: int, where: str) -> None:
    """Raise ConfigError if a model of ``size`` bytes is larger than this process may load.

    Raises
    ------
    ConfigError
        It is, or the limit in ``MODEL_BYTES`` is no number.
    """
    limit = _limit()
    if size > limit:
        remedy = f"Make it smaller, or let whoever runs the workers raise {MODEL_BYTES} there."
        raise ConfigError([Problem(where, f"has {size} bytes, and the limit is {limit}.", remedy)])


def read_bounded(path: Path, where: str) -> bytes:
    """Return the bytes of a regular file that is not too large; pipes and devices, which may never end, are refused.

    Raises
    ------
    ConfigError
        It is too large, or no regular file.
    OSError
        It cannot be read.
    """
    if "\0" in str(path):
        raise ConfigError([Problem(where, "is no path: it has a zero byte in it.", "Give the path of a file.")])
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # opening a folder says what it is
        raise ConfigError([Problem(where, "is no regular file.", "Give the path of a file.")])
    check_size(found.st_size, where)
    limit = _limit()
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    check_size(len(data), where)  # it may have grown since
    return data


def _limit() -> int:
    text = os.environ.get(MODEL_BYTES, "").strip()
    if not text:
        return _DEFAULT
    if not text.isdecimal() or int(text) < 1:
        what = f"'{text[:40]}' is not a whole number of bytes above zero."
        raise ConfigError([Problem(f"environment variable {MODEL_BYTES}", what, "Write for instance 2147483648.")])
    return int(text)
