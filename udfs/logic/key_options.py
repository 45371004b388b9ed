"""The options about signatures: which key a model signs with, whose it trusts, and whether there has to be one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from thalweg.connector.secret_source import parse_secret_source

__all__ = ["KeyOptions", "check_keys", "read_source", "read_sources"]


class KeyOptions(NamedTuple):
    """What a model is told about keys: where they lie, and nothing of them.

    Attributes
    ----------
    signing_key : str or None
        Where the key lies that signs its snapshots; None, they are not signed.
    trusted_keys : tuple of str
        Where the keys lie whose signatures it believes.
    required : bool
        Whether it starts from nothing that is not signed.
    """

    signing_key: str | None = None
    trusted_keys: tuple[str, ...] = ()
    required: bool = False


def read_source(text: str) -> str:
    """Return a reference to a secret as it is written in the end; raises ValueError, without quoting ``text``.

    Examples
    --------
    >>> read_source("file:///etc/thalweg/signing.key")
    'file:/etc/thalweg/signing.key'
    """
    return str(parse_secret_source(text))


def read_sources(text: str) -> tuple[str, ...]:
    """Return references to secrets that are separated by commas.

    Examples
    --------
    >>> read_sources("file:/etc/thalweg/old.pub, env:THALWEG_NEW_KEY")
    ('file:/etc/thalweg/old.pub', 'env:THALWEG_NEW_KEY')
    """
    return tuple(read_source(part) for part in text.split(","))


def check_keys(
    options: Mapping[str, str], values: Mapping[str, Any], wrong: Callable[[str, str, str], None]
) -> KeyOptions:
    """Hold the options about signatures against each other and the rest.

    Parameters
    ----------
    options : mapping of str to str
        Those that are given.
    values : mapping of str to Any
        The options, read.
    wrong : callable
        Takes an option, what is wrong with it, and the remedy.
    """
    found = KeyOptions(values["signing-key"], values["trusted-keys"] or (), values["require-signature"] == "true")
    if found.required and "trusted-keys" not in options:
        wrong("require-signature", "is given without 'trusted-keys': nobody is believed.", "Name the keys there.")
    if values["warm-start"] is None:
        for option in ("trusted-keys", "require-signature"):
            if option in options:
                what = "is given without 'warm-start': nothing is read that could be signed."
                wrong(option, what, "Give 'warm-start', or remove it.")
    elif found.required and values["revive"] == "snapshot" and "signing-key" not in options:
        what = "is given, and the snapshots that 'revive' goes on from are not signed."
        wrong("require-signature", what, "Give 'signing-key'.")
    return found
