"""Where a secret lies: ``env:NAME`` or ``file:/path``, so that the secret itself stands in no statement and no log."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["SecretSource", "parse_secret_source"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_LARGEST = 1 << 20  # bytes; whoever names a data file by mistake is told so, and does not wait for it


class SecretSource(NamedTuple):
    """A reference to a secret; it says where the secret lies, and holds nothing of it.

    Attributes
    ----------
    kind : str
        ``env`` or ``file``.
    place : str
        Name of the environment variable, or path of the file.
    """

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"

    def read(self, where: str) -> str:
        """Return the secret, without white space at its ends.

        Parameters
        ----------
        where : str
            Names the culprit in an error, such as ``model delay, option 'signing-key'``.

        Raises
        ------
        ConfigError
            There is no such variable or file, it is empty, or it is no text. Nothing of a secret is in the error.
        """
        text, what = "", None
        if self.kind == "env":
            text, remedy = os.environ.get(self.place, ""), "Set it on every machine that uses it."
            what = None if self.place in os.environ else f"the environment variable {self.place} is not set."
        else:
            remedy = "Every machine that uses it must have the file, and the right to read it."
            try:
                with Path(self.place).open("rb") as stream:
                    data = stream.read(_LARGEST + 1)
                if len(data) > _LARGEST:
                    what = f"the file '{self.place}' has more than {_LARGEST} bytes, which no secret has."
                text = data.decode("utf-8")
            except OSError as error:
                what = f"the file '{self.place}' cannot be read ({error.strerror})."
            except ValueError:
                what = what or f"the file '{self.place}' is no text."
        if what is None and not text.strip():
            what = f"there is nothing in {self}."
        if what is not None:
            raise ConfigError([Problem(where, what, remedy)]) from None
        return text.strip()


def parse_secret_source(text: str) -> SecretSource:
    """Return the parts of ``env:NAME``, ``file:/path`` or ``file:///path``.

    Parameters
    ----------
    text : str
        The reference.

    Raises
    ------
    ValueError
        One sentence that does not quote ``text``: where no reference stands, the secret itself may.

    Examples
    --------
    >>> parse_secret_source("env:THALWEG_SIGNING_KEY")
    SecretSource(kind='env', place='THALWEG_SIGNING_KEY')
    >>> str(parse_secret_source("file:///etc/thalweg/signing.key"))
    'file:/etc/thalweg/signing.key'
    >>> parse_secret_source("hunter2")
    Traceback (most recent call last):
    ...
    ValueError: is no reference: write env:NAME or file:/path. The secret itself does not belong here.
    """
    kind, colon, place = text.strip().partition(":")
    if not colon or kind not in ("env", "file"):
        raise ValueError("is no reference: write env:NAME or file:/path. The secret itself does not belong here.")
    if kind == "env" and not _NAME.fullmatch(place):
        raise ValueError("does not name an environment variable after 'env:': letters, digits and '_' alone.")
    if kind == "file":
        place = place.removeprefix("//") if place.startswith("///") else place
        if not place or "\0" in place:
            raise ValueError("names no file after 'file:'.")
    return SecretSource(kind, place)
