"""Java's ``.properties`` files, as Kafka's own tools read them with ``--command-config``."""

from __future__ import annotations

import re

__all__ = ["parse_properties"]

# A line goes on in the next one where it ends in an odd number of backslashes; blanks before what follows do not count.
_NATURAL = re.compile(r"\r\n|\r|\n")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.)", re.DOTALL)
_KEY = re.compile(r"((?:[^\\=:\s]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_BLANKS = " \t\f"


def parse_properties(text: str) -> dict[str, str]:
    r"""Return the settings of a properties file; of a name that comes twice the last one holds.

    Raises
    ------
    ValueError
        An escape ``\u`` without four hexadecimal digits; names the line.

    Examples
    --------
    >>> parse_properties("# ours\nsasl.mechanism = PLAIN\nssl.truststore.certificates=-----BEGIN\\n\\\n    MIIB")
    {'sasl.mechanism': 'PLAIN', 'ssl.truststore.certificates': '-----BEGIN\nMIIB'}
    """
    found: dict[str, str] = {}
    lines = enumerate(_NATURAL.split(text.removeprefix("\ufeff")), 1)
    for number, line in lines:
        logical = line.lstrip(_BLANKS)
        if not logical or logical[0] in "#!":
            continue
        while _goes_on(logical):
            _, more = next(lines, (0, ""))
            logical = logical[:-1] + more.lstrip(_BLANKS)
        key, value = _KEY.fullmatch(logical).groups()  # type: ignore[union-attr]  # it matches any text
        found[_unescaped(key, number)] = _unescaped(value, number)
    return found


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _unescaped(text: str, line: int) -> str:
    def sign(found: re.Match[str]) -> str:
        code = found[1]
        if code == "u":
            raise ValueError(f"line {line}: an escape \\u has no four hexadecimal digits. Write \\\\ for a backslash.")
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)

    # A sign beyond the first 65,536 is two escapes in Java.
    return _ESCAPED.sub(sign, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
