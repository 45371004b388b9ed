"""A Flink SQL file as a list of statements, each with its line; variables filled in. No Flink is needed to read one.

The words are those of Flink's own parser: comments ``--``, ``//`` and ``/* */`` (but ``/*+ ... */`` is a hint), strings
with ``''``, strings ``E'...'`` with backslashes, names in backquotes. A semicolon in any of them ends nothing.
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.kafka_security import remember_secrets
from thalweg.connector.redaction import remember
from thalweg.connector.references import REFERENCE, referenced

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["Statement", "parse_script", "read_script"]

# A quote that ends a string is not followed by another: '' is one quote inside.
_TOKEN = re.compile(
    r"""
      (?P<comment>--[^\r\n]*|//[^\r\n]*|/\*(?!\+).*?\*/)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*'(?!'))
    | (?P<string>'[^']*(?:''[^']*)*'(?!'))
    | (?P<name>`[^`]*(?:``[^`]*)*`(?!`))
    | (?P<open>/\*(?!\+)|[eE]?'|`)
    | (?P<variable>\$\$\{|\$\{[^{}]*\}|\$\{)
    | (?P<word>[^\W\d]\w*)
    | (?P<end>;)
    | (?P<space>\s+)
    | (?P<other>\*/|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(
    rf"\$(?P<literal>\$)\{{|{REFERENCE.pattern}|" r"\$\{(?P<name>[A-Za-z_][\w.]*)(?::-(?P<default>[^{}]*))?\}|\$\{"
)
_OPTION = re.compile(r"'([\w.\-]+)'\s*=\s*'((?:[^']|'')*)'")
_OPENED = {"*": "comment", "'": "string", "`": "quoted name"}
_QUOTE: dict[str, Callable[[str], str]] = {
    "string": lambda value: value.replace("'", "''"),
    "escaped": lambda value: value.replace("\\", "\\\\").replace("'", "\\'"),
    "name": lambda value: value.replace("`", "``"),
}
_KINDS = {
    r"SET\b": "SET",
    r"CREATE (OR REPLACE )?(TEMPORARY )?TABLE\b": "CREATE TABLE",
    r"CREATE (OR REPLACE )?(TEMPORARY )?MODEL\b": "CREATE MODEL",
    r"CREATE (OR REPLACE )?(TEMPORARY )?VIEW\b": "CREATE VIEW",
    r"CREATE (OR REPLACE )?(TEMPORARY )?(SYSTEM )?FUNCTION\b": "CREATE FUNCTION",
    r"INSERT (INTO|OVERWRITE)\b": "INSERT",
    r"USE\b": "USE",
    r"DROP\b": "DROP",
    r"(EXECUTE STATEMENT SET BEGIN|BEGIN STATEMENT SET)$": "BEGIN SET",
    r"END$": "END SET",
}
_EXECUTE_SET = "EXECUTE STATEMENT SET BEGIN"


class Statement(NamedTuple):
    """One statement of a file.

    Attributes
    ----------
    text : str
        As written, without the semicolon and without comments around it, variables filled in.
    file : str
        The file, as it was named.
    line : int
        Where the statement begins, from 1.
    kind : str
        ``SET``, ``CREATE TABLE``, ``CREATE MODEL``, ``CREATE VIEW``, ``CREATE FUNCTION``, ``INSERT``, ``USE``,
        ``DROP``, ``BEGIN SET`` and ``END SET`` (the frame of a statement set, whose inserts are statements of their
        own), else ``other``.
    """

    text: str
    file: str
    line: int
    kind: str

    @property
    def where(self) -> str:
        """``file:line``, for messages."""
        return f"{self.file}:{self.line}"

    @property
    def options(self) -> dict[str, str]:
        """What stands as ``'name' = 'value'`` in it, such as the options of a table or a model."""
        return {name: value.replace("''", "'") for name, value in _OPTION.findall(self.text)}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read_script(path: Path | Traversable, variables: Mapping[str, str]) -> list[Statement]:
    """Return the statements of a file; ``variables`` go before those of the environment.

    Raises
    ------
    ConfigError
        The file cannot be read as UTF-8, or as ``parse_script`` says.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([Problem(str(path), f"cannot be read: {reason}.", "Name a SQL file in UTF-8.")]) from error
    return parse_script(text, str(path), ChainMap(dict(variables), dict(os.environ)))


def parse_script(text: str, file: str, variables: Mapping[str, str]) -> list[Statement]:
    r"""Split ``text`` into statements, then fill in variables: ``${NAME}``, ``${NAME:-default}``, ``${env:NAME}``.

    The default is taken where the variable is not set or empty. A value stays where it is put: inside a string or a
    quoted name its quotes are doubled, it ends no statement, and what looks like a variable in it is left alone. In a
    comment nothing is filled in. ``$${`` stands for ``${``. What ``${env:NAME}``, ``${file:/path}`` or
    ``${file:/path:key}`` names is a secret: no output shows it, see ``connector.references``.

    Raises
    ------
    ConfigError
        All variables that are neither set nor have a default; a string, name or comment that does not end; a
        statement set that does not end or holds something else than inserts.

    Examples
    --------
    >>> for statement in parse_script("USE ${db};\n-- daily\nINSERT INTO t SELECT ';${who}'", "a.sql",
    ...                               {"db": "shop", "who": "O'Hara"}):
    ...     print(statement.line, statement.kind, statement.text)
    1 USE USE shop
    3 INSERT INSERT INTO t SELECT ';O''Hara'
    """
    problems: list[Problem] = []
    statements = [_statement(tokens, file, variables, problems) for tokens in _split(_tokens(text, file, problems))]
    _check_sets(statements, problems)
    for statement in statements:
        remember_secrets(statement.options)
    if problems:
        raise ConfigError(problems)
    return statements


def _tokens(text: str, file: str, problems: list[Problem]) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "open":
            what = _OPENED[match[0][-1]]
            problems.append(Problem(f"{file}:{line}", f"the {what} that begins here does not end.", "Close it."))
            return
        yield _Token(kind, match[0], line)
        line += match[0].count("\n")


def _split(tokens: Iterator[_Token]) -> Iterator[list[_Token]]:
    """Yield the tokens of each statement, without what surrounds it."""
    current: list[_Token] = []
    for token in tokens:
        if token.kind == "end":
            yield from _trimmed(current)
            current = []
            continue
        current.append(token)
        # The head of a statement set ends without a semicolon.
        if token.kind == "word" and token.text.upper() == "BEGIN" and _head(current) == _EXECUTE_SET:
            yield from _trimmed(current)
            current = []
    yield from _trimmed(current)


def _trimmed(tokens: list[_Token]) -> Iterator[list[_Token]]:
    solid = [index for index, token in enumerate(tokens) if token.kind not in ("comment", "space")]
    if solid:
        yield tokens[solid[0] : solid[-1] + 1]


def _head(tokens: list[_Token]) -> str:
    """Return the words up to the first token that is none, in capitals, one space between, at most five."""
    words: list[str] = []
    for token in tokens:
        if token.kind in ("comment", "space"):
            continue
        if token.kind != "word" or len(words) == 5:
            return " ".join([*words, "..."])
        words.append(token.text.upper())
    return " ".join(words)


def _statement(tokens: list[_Token], file: str, variables: Mapping[str, str], problems: list[Problem]) -> Statement:
    head = _head(tokens)
    kind = next((kind for pattern, kind in _KINDS.items() if re.match(pattern, head)), "other")
    text = "".join(_filled(token, file, variables, problems) for token in tokens)
    return Statement(text, file, tokens[0].line, kind)


def _filled(token: _Token, file: str, variables: Mapping[str, str], problems: list[Problem]) -> str:
    if token.kind == "comment":
        return token.text
    quote = _QUOTE.get(token.kind, str)

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["literal"]:
            return "${"
        line = token.line + token.text.count("\n", 0, match.start())
        if match["provider"]:
            try:
                return remember(quote(referenced(match, token.text, f"{file}:{line}")))
            except ConfigError as error:
                problems.extend(error.problems)
                return match[0]
        if name is None:
            remedy = "Write ${NAME}, ${NAME:-default}, ${env:NAME} or ${file:/path}, or $${ for '${' itself."
            problems.append(Problem(f"{file}:{line}", "'${' begins no variable.", remedy))
        elif variables.get(name) or (name in variables and default is None):
            return quote(variables[name])
        elif default is not None:
            # Written in the file, so already quoted as its place wants.
            return str(default)
        else:
            remedy = f"Give it with -D {name}=..., in the environment, or a default as in ${{{name}:-...}}."
            problems.append(Problem(f"{file}:{line}", f"variable {name} is not set.", remedy))
        return match[0]

    return _VARIABLE.sub(value, token.text)


def _check_sets(statements: list[Statement], problems: list[Problem]) -> None:
    begun: Statement | None = None
    for statement in statements:
        if statement.kind == "BEGIN SET":
            if begun is not None:
                problems.append(Problem(statement.where, "a statement set inside another.", "End the first with END;"))
            begun = statement
        elif statement.kind == "END SET":
            if begun is None:
                problems.append(Problem(statement.where, "END without a statement set.", "Remove it."))
            begun = None
        elif begun is not None and statement.kind != "INSERT":
            problems.append(Problem(statement.where, "a statement set holds inserts only.", "Move it before the set."))
    if begun is not None:
        problems.append(Problem(begun.where, "the statement set that begins here does not end.", "Add END;"))
