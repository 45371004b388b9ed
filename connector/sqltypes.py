"""SQL type text of a Flink column, parsed; and the Avro type that Flink's avro format derives from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["Column", "SqlType", "parse_columns"]

Column: TypeAlias = tuple[str, str, bool]
"""Name, SQL type, nullable; a ``NOT NULL`` inside the type text also makes the column not nullable."""

_ALIASES = {
    "INTEGER": "INT",
    "DEC": "DECIMAL",
    "NUMERIC": "DECIMAL",
    "VARCHAR": "STRING",
    "CHAR": "STRING",
    "VARBINARY": "BYTES",
    "BINARY": "BYTES",
}
_AVRO = {
    "BOOLEAN": "boolean",
    "TINYINT": "int",
    "SMALLINT": "int",
    "INT": "int",
    "BIGINT": "long",
    "FLOAT": "float",
    "DOUBLE": "double",
    "STRING": "string",
    "BYTES": "bytes",
    "DATE": {"type": "int", "logicalType": "date"},
    "TIME": {"type": "int", "logicalType": "time-millis"},
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-millis"},
}
_KNOWN = {*_AVRO, "DECIMAL", "TIMESTAMP_LTZ", "ARRAY", "MAP", "ROW"}
_TOKEN = re.compile(r"\s*(?:(`(?:[^`]|``)+`)|([^\W\d]\w*)|(\d+)|([<>(),])|('(?:[^']|'')*'))")
_TIME_ATTRIBUTE = re.compile(r"\*(?:ROW|PROC)TIME\*")  # Flink prints it after the type of a time attribute
_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_DEPTH = 32


class SqlType(NamedTuple):
    """A parsed SQL type.

    Attributes
    ----------
    root : str
        ``BOOLEAN``, ``TINYINT``, ``SMALLINT``, ``INT``, ``BIGINT``, ``FLOAT``, ``DOUBLE``, ``DECIMAL``, ``STRING``,
        ``BYTES``, ``DATE``, ``TIME``, ``TIMESTAMP``, ``TIMESTAMP_LTZ``, ``ARRAY``, ``MAP`` or ``ROW``.
    nullable : bool
        False after ``NOT NULL``.
    numbers : tuple of int
        Precision and scale of a DECIMAL, precision of a time; else empty.
    names : tuple of str
        Field names of a ROW, else empty.
    children : tuple of SqlType
        Fields of a ROW; key and value of a MAP; element of an ARRAY; else empty.
    """

    root: str
    nullable: bool = True
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    children: tuple[SqlType, ...] = ()

    def avro(self, record_name: str, where: str) -> Any:
        """Return the Avro type that Flink derives, nested records named as Flink names them.

        Parameters
        ----------
        record_name : str
            Full name of the record if this is a ROW; prefix of the names of records inside.
        where : str
            The column, for the error.

        Raises
        ------
        ConfigError
            Flink's avro format has no such type.
        """
        inner: Any
        if self.root == "ROW":
            inner = {"type": "record", "name": record_name, "fields": []}
            for name, child in zip(self.names, self.children, strict=True):
                if not _AVRO_NAME.match(name):
                    raise _bad(where, f"'{name}' is not an Avro name.", "Use ASCII letters, digits and underscores.")
                field = {"name": name, "type": child.avro(f"{record_name}_{name}", where)}
                inner["fields"].append({**field, "default": None} if child.nullable else field)
        elif self.root == "ARRAY":
            inner = {"type": "array", "items": self.children[0].avro(record_name, where)}
        elif self.root == "MAP":
            if self.children[0].root != "STRING":
                raise _bad(where, "Avro maps have string keys only.", "Use MAP<STRING, ...>.")
            inner = {"type": "map", "values": self.children[1].avro(record_name, where)}
        elif self.root == "DECIMAL":
            precision, scale = self.numbers
            inner = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
        elif self.root == "TIMESTAMP_LTZ":
            raise _bad(where, "Flink's avro format has no TIMESTAMP_LTZ.", "Use BIGINT epoch milliseconds.")
        elif self.root == "TIMESTAMP" and self.numbers[0] > 3:
            raise _bad(where, "Flink's avro format has milliseconds at most.", "Use TIMESTAMP(3).")
        else:
            inner = _AVRO[self.root]
        return ["null", inner] if self.nullable else inner


def parse_columns(columns: Sequence[Column]) -> SqlType:
    """Return a table's columns as one ROW that is not null.

    Parameters
    ----------
    columns : sequence of (name, SQL type, nullable)
        In the order of the table's DDL, which is the order of the fields on the wire.

    Raises
    ------
    ConfigError
        Lists every column whose type cannot be read, every name that occurs twice; or says that there is no column.

    Examples
    --------
    >>> row = parse_columns([("carrier", "STRING", False), ("delays", "ARRAY<DOUBLE NOT NULL>", True)])
    >>> row.children[1].children[0]
    SqlType(root='DOUBLE', nullable=False, numbers=(), names=(), children=())
    """
    problems: list[Problem] = []
    types: list[SqlType] = []
    seen: set[str] = set()
    for name, text, nullable in columns:
        if name in seen:
            problems.append(Problem(f"column '{name}'", "the name occurs twice.", "Rename one of them."))
        seen.add(name)
        try:
            parsed = _Parser(text, f"column '{name}'").whole()
            types.append(parsed._replace(nullable=parsed.nullable and nullable))
        except ConfigError as error:
            problems.extend(error.problems)
    if not columns:
        problems.append(Problem("table", "it has no columns.", "Declare at least one."))
    if problems:
        raise ConfigError(problems)
    return SqlType("ROW", False, (), tuple(name for name, _, _ in columns), tuple(types))


def _bad(where: str, what: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(where, what, remedy)])


class _Parser:
    """Recursive descent over the type text; one instance reads one type."""

    def __init__(self, text: str, where: str) -> None:
        self._where, self._text, self._tokens, self._at, self._depth = where, text, list[str](), 0, 0
        position, text = 0, _TIME_ATTRIBUTE.sub("", text).rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"it breaks off at '{text[position:].strip()[:20]}'.")
            self._tokens.append(match.group().strip())
            position = match.end()

    def whole(self) -> SqlType:
        result = self._type()
        if self._at < len(self._tokens):
            raise self._error(f"'{self._tokens[self._at]}' is not expected there.")
        return result

    def _error(self, what: str) -> ConfigError:
        return _bad(self._where, f"cannot read the type '{self._text.strip()[:80]}': {what}", "Use a Flink SQL type.")

    def _peek(self) -> str:
        return self._tokens[self._at].upper() if self._at < len(self._tokens) else ""

    def _accept(self, *words: str) -> bool:
        if tuple(token.upper() for token in self._tokens[self._at : self._at + len(words)]) == words:
            self._at += len(words)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._error(f"'{word}' is missing.")

    def _numbers(self) -> tuple[int, ...]:
        numbers: list[int] = []
        if self._accept("("):
            while True:
                if not self._peek().isdecimal():
                    raise self._error("a number is missing.")
                numbers.append(int(self._peek()[:9]))  # no length that matters is longer
                self._at += 1
                if not self._accept(","):
                    break
            self._expect(")")
        return tuple(numbers)

    def _type(self) -> SqlType:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("it is nested too deeply.")
        word = self._peek()
        root = _ALIASES.get(word, word)
        if root not in _KNOWN:
            raise self._error(f"'{word}' is not a type known here." if word else "the type is missing.")
        self._at += 1
        self._accept("PRECISION")
        names: tuple[str, ...] = ()
        children: tuple[SqlType, ...] = ()
        numbers: tuple[int, ...] = ()
        if root in ("ARRAY", "MAP", "ROW"):
            names, children = self._children(root)
        else:
            numbers = self._numbers()
        if root == "TIMESTAMP" and self._accept("WITH", "LOCAL", "TIME", "ZONE"):
            root = "TIMESTAMP_LTZ"
        elif root in ("TIMESTAMP", "TIME"):
            self._accept("WITHOUT", "TIME", "ZONE")
        nullable = not self._accept("NOT", "NULL")
        if nullable:
            self._accept("NULL")
        self._depth -= 1
        return SqlType(root, nullable, self._defaults(root, numbers), names, children)

    def _defaults(self, root: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if root == "DECIMAL":
            precision, scale = (numbers + (10, 0)[len(numbers) :])[:2]
            if not (1 <= precision <= 38 and 0 <= scale <= precision):
                raise self._error("a DECIMAL has 1 to 38 digits and a scale within them.")
            return precision, scale
        if root in ("TIMESTAMP", "TIMESTAMP_LTZ", "TIME"):
            return numbers[:1] or ((0,) if root == "TIME" else (6,))
        return ()

    def _children(self, root: str) -> tuple[tuple[str, ...], tuple[SqlType, ...]]:
        self._expect("<")
        names: list[str] = []
        children: list[SqlType] = []
        while True:
            if root == "ROW":
                names.append(self._name())
            children.append(self._type())
            if root == "ROW" and self._peek().startswith("'"):
                self._at += 1  # a comment on the field
            if not self._accept(","):
                break
        self._expect(">")
        if root != "ROW" and len(children) != (2 if root == "MAP" else 1):
            raise self._error(f"{root} has {'two types' if root == 'MAP' else 'one type'} inside.")
        if len(set(names)) < len(names):
            raise self._error("a field name occurs twice.")
        return tuple(names), tuple(children)

    def _name(self) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] in "<>(),'0123456789":
            raise self._error("a field name is missing.")
        token = self._tokens[self._at]
        self._at += 1
        return token[1:-1].replace("``", "`") if token.startswith("`") else token
