"""The setting ``sasl.jaas.config`` of Kafka's Java clients: who logs in, and with what."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Login", "escape_jaas", "parse_jaas"]

_FLAGS = ("required", "requisite", "sufficient", "optional")
_TOKEN = re.compile(
    r"""
      (?P<skip>\s+|//[^\r\n]*|/\*.*?\*/)
    | (?P<quoted>"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')
    | (?P<word>[\w.$\-]+)
    | (?P<sign>[=;])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED = re.compile(r"\\([0-3]?[0-7]{1,2}|.)", re.DOTALL)
_MAX = 65_536
_REMEDY = 'Write <login module> required username="..." password="...";'


class Login(NamedTuple):
    """One login module and its options.

    Attributes
    ----------
    module : str
        Name of the Java class.
    options : dict of str to str
        Its options, such as ``username`` and ``password``.
    """

    module: str
    options: dict[str, str]

    def __repr__(self) -> str:
        return f"Login(module={self.module!r}, options=<{len(self.options)} hidden>)"


def parse_jaas(text: str) -> Login:
    r"""Return the one login module of ``text``.

    Quoted values have Java's escapes (``\"``, ``\\``, ``\n``, octal numbers), comments are ``//`` and ``/* */``.

    Raises
    ------
    ValueError
        One sentence, with the remedy and without a value: it is not of that form, or names no or several modules,
        which Kafka's clients refuse as well.

    Examples
    --------
    >>> login = parse_jaas('org.example.PlainLoginModule required username="u" password="p";')
    >>> login.module.rpartition(".")[2], login.options["username"]
    ('PlainLoginModule', 'u')
    """
    if len(text) > _MAX:
        raise ValueError(f"has more than {_MAX} characters. {_REMEDY}")
    tokens = _tokens(text)
    if not tokens:
        raise ValueError(f"is empty. {_REMEDY}")
    logins, at = [], 0
    while at < len(tokens):
        login, at = _login(tokens, at)
        logins.append(login)
    if len(logins) > 1:
        raise ValueError(f"names {len(logins)} login modules, and a client has one login. Leave one of them.")
    return logins[0]


def escape_jaas(value: str) -> str:
    r"""Return ``value`` as it stands between the quotes of ``password="..."``.

    Examples
    --------
    >>> print(escape_jaas('a"b\\c'))
    a\"b\\c
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")
    return escaped.replace("\n", "\\n").replace("\r", "\\r")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quote that does not end" if text[at] in "\"'" else "a character that belongs to no value"
            raise ValueError(f'has {what} at position {at + 1}. Put values into double quotes, with \\" for a quote.')
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "quoted":
            tokens.append(("value", _ESCAPED.sub(_sign, found[0][1:-1])))
        elif kind != "skip":
            tokens.append((kind, found[0]))
    return tokens


def _sign(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code, 8)) if code.isdecimal() and code[0] in "01234567" else _ESCAPES.get(code, code)


def _login(tokens: list[tuple[str, str]], at: int) -> tuple[Login, int]:
    """Return the login module that begins at a token, and where the next one would."""
    kind, module = tokens[at]
    if kind != "word":
        raise ValueError(f"does not begin with a login module. {_REMEDY}")
    if at + 1 >= len(tokens) or tokens[at + 1][1].lower() not in _FLAGS:
        raise ValueError(f"has no {', '.join(_FLAGS[:-1])} or {_FLAGS[-1]} after the login module. {_REMEDY}")
    options: dict[str, str] = {}
    at += 2
    while at < len(tokens):
        kind, name = tokens[at]
        if (kind, name) == ("sign", ";"):
            return Login(module, options), at + 1
        if kind == "sign" or tokens[at + 1 : at + 2] != [("sign", "=")] or at + 2 >= len(tokens):
            raise ValueError(f"has an option that is not name=value. {_REMEDY}")
        if tokens[at + 2][0] == "sign":
            raise ValueError(f"has an option without a value. {_REMEDY}")
        if name in options:
            raise ValueError("gives an option twice. Leave one of them.")
        options[name] = tokens[at + 2][1]
        at += 3
    raise ValueError(f"does not end with a semicolon. {_REMEDY}")
