"""Values that stand elsewhere: ``${env:NAME}`` and ``${file:/path}`` in properties and SQL files.

The notation is that of Kafka's configuration providers, ``${provider:path:key}``. What is read is taken for a secret.
"""

from __future__ import annotations

import re

from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.jaas import escape_jaas
from thalweg.connector.properties import parse_properties
from thalweg.connector.redaction import remember
from thalweg.connector.secret_source import SecretSource

__all__ = ["REFERENCE", "filled", "referenced"]

REFERENCE = re.compile(r"\$\{(?P<provider>env|file):(?P<place>[^{}]*)\}")
_LOGIN = re.compile(r"LoginModule\s")


def filled(text: str, where: str) -> str:
    """Return ``text`` with its references replaced by what they name; what comes in is not looked at again.

    In the text of a ``sasl.jaas.config`` a value is escaped as its quotes want it, whatever signs it has.

    Parameters
    ----------
    text : str
        With any number of references.
    where : str
        Names the culprit in an error.

    Raises
    ------
    ConfigError
        The first reference that leads nowhere.

    Examples
    --------
    >>> filled("no reference", "Kafka setting 'sasl.mechanism'")
    'no reference'
    """
    return REFERENCE.sub(lambda found: referenced(found, text, where), text)


def referenced(found: re.Match[str], around: str, where: str, nested: bool = False) -> str:
    """Return the value that a match of ``REFERENCE`` names; from now on no text shows it.

    Parameters
    ----------
    found : re.Match
        Its place is, for ``env``, the name of a variable; for ``file`` the path of a file that holds the value, or
        ``path:key``, one setting of a properties file, which may have references too. White space at the ends is not
        part of a value.
    around : str
        The text that it stands in.
    where : str
        Names the culprit in an error.
    nested : bool
        Whether it comes from a file itself: then the next file's references stay, so that a circle ends.

    Raises
    ------
    ConfigError
        There is no such variable, file or setting, or it is empty.
    """
    provider, place = found["provider"], found["place"]
    path, _, key = place.partition(":") if provider == "file" else (place, "", "")
    if provider == "file" and not path.startswith("/"):
        remedy = "Write ${file:/path} or ${file:/path:key}."
        raise ConfigError([Problem(where, f"'${{file:{path}}}' is no absolute path.", remedy)])
    value = SecretSource(provider, path).read(where)
    if key:
        value = _setting(value, path, key, where)
        if not nested:
            inner = value
            value = REFERENCE.sub(lambda again: referenced(again, inner, where, nested=True), inner)
    remember(value)
    # A whole sasl.jaas.config that comes from elsewhere stands in no quotes of another one.
    return remember(escape_jaas(value)) if _LOGIN.search(REFERENCE.sub("", around)) else value


def _setting(text: str, path: str, key: str, where: str) -> str:
    try:
        value = parse_properties(text).get(key, "")
    except ValueError as error:
        raise ConfigError([Problem(where, f"file {path} is no properties file: {error}", "")]) from None
    if not value:
        raise ConfigError([Problem(where, f"file {path} has no setting '{key}'.", "Check the name after the colon.")])
    return value
