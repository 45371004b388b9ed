"""Who vouches for a record: signatures as text, and the keys that are trusted.

A signature is ``algorithm:key-id:base64``. It rides at the end of the field that says who wrote the record, ``writer``
of a snapshot and ``issued_by`` of an order, behind `` / signature ``. Plain Avro has no room for a field that old
tables and old readers do not know, and an SQL sink sets no Kafka headers; so the signature goes wherever its record
goes, and a reader that knows nothing of signatures reads the record as before.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from thalweg.connector.errors import ConfigError, Problem, SignatureError
from thalweg.connector.keys import ED25519, HMAC, SIZES, Key, parse_key
from thalweg.connector.redaction import remember
from thalweg.connector.secret_source import parse_secret_source

__all__ = ["Trust", "join_signature", "open_signer", "open_trust", "part_signature", "read_keys", "sign"]

_SEPARATOR = " / signature "
_SIGNATURE = re.compile(rf"({HMAC}|{ED25519}):([A-Za-z0-9][A-Za-z0-9._-]{{0,63}}):([A-Za-z0-9_-]{{43,86}})")


def join_signature(who: str, signature: str) -> str:
    """Return what says who wrote a record, with the signature behind it."""
    return f"{who}{_SEPARATOR}{signature}" if signature else who


def part_signature(text: str) -> tuple[str, str]:
    """Return who wrote a record, and the signature; an empty one where there is none.

    Examples
    --------
    >>> part_signature("thalweg 0.1.0 / signature ed25519:ci:AAAA")
    ('thalweg 0.1.0', 'ed25519:ci:AAAA')
    >>> part_signature("thalweg 0.1.0 / python 3.11")
    ('thalweg 0.1.0 / python 3.11', '')
    """
    who, separator, signature = text.rpartition(_SEPARATOR)
    return (who, signature) if separator and signature else (text, "")


def sign(key: Key, purpose: str, content: bytes) -> str:
    """Return the signature of a record.

    Parameters
    ----------
    key : Key
        One that signs.
    purpose : str
        What kind of record it is, so that none can be taken for one of another kind.
    content : bytes
        Everything that the record says.
    """
    made = key.sign(_message(key.algorithm, key.id, purpose, content))
    return f"{key.algorithm}:{key.id}:{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


class Trust:
    """The keys whose signatures are believed, and whether there has to be one.

    Parameters
    ----------
    keys : iterable of Key
        Several, while one replaces another.
    required : bool
        Whether what is not signed is refused. A signature that is there has to hold in any case.

    Raises
    ------
    ValueError
        Two keys have one id, a private key is among them, or a signature is required and there is no key.
    """

    def __init__(self, keys: Iterable[Key], required: bool) -> None:
        found: dict[str, Key] = {}
        for key in keys:
            if key.signs and key.algorithm == ED25519:
                raise ValueError(f"the key '{key.id}' is a private one: whoever verifies needs its public half alone.")
            if found.setdefault(key.id, key).text() != key.text():
                raise ValueError(f"two keys have the id '{key.id}'.")
        if required and not found:
            raise ValueError("a signature is required, and no key is trusted.")
        self._keys: Mapping[str, Key] = found
        self.required = required

    def __repr__(self) -> str:
        return f"Trust({sorted(self._keys)}, required={self.required})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Keys stay in the process that has read them.")

    def check(self, purpose: str, content: bytes, signature: str, name: str) -> str:
        """Return the id of the key that signed a record; empty where it is not signed and need not be.

        Parameters
        ----------
        purpose, content : str, bytes
            As in ``sign``.
        signature : str
            What ``sign`` gave, or empty.
        name : str
            Names the record in an error.

        Raises
        ------
        SignatureError
            It is not signed and has to be, nobody who is trusted has signed it, or it is not what was signed.
        """
        if not signature:
            if self.required:
                raise SignatureError(f"{name}: it is not signed, and only what is signed is accepted.")
            return ""
        found = _SIGNATURE.fullmatch(signature)
        if found is None:
            raise SignatureError(f"{name}: its signature is none.")
        algorithm, key_id, text = found.groups()
        key = self._keys.get(key_id)
        if key is None:
            raise SignatureError(f"{name}: it is signed by '{key_id}', who is not trusted.")
        made = _bytes(text)
        fits = key.algorithm == algorithm and made is not None and len(made) == SIZES[algorithm]
        if made is None or not fits or not key.verifies(_message(algorithm, key_id, purpose, content), made):
            raise SignatureError(f"{name}: it is not what '{key_id}' has signed.")
        return key_id


def open_signer(source: str, where: str) -> Key:
    """Return the key that a reference to a secret leads to; it is read now, and held in memory alone.

    Parameters
    ----------
    source : str
        ``env:NAME`` or ``file:/path``.
    where : str
        Names the culprit in an error.

    Raises
    ------
    ConfigError
        It is no reference, cannot be read, or is no key that signs. No key is in the error.
    """
    keys = read_keys(source, where)
    if len(keys) != 1 or not keys[0].signs:
        what = "holds a public key, which cannot sign." if len(keys) == 1 else f"holds {len(keys)} keys."
        raise ConfigError([Problem(where, what, "Name one private key or secret ('thalweg keys generate' makes one).")])
    return keys[0]


def open_trust(sources: Sequence[str], required: bool, where: str) -> Trust | None:
    """Return the keys that references lead to, one a line in each; None where nothing is asked for.

    Raises
    ------
    ConfigError
        A reference cannot be read, or something in it is no key to verify with. No key is in the error.
    """
    if not sources and not required:
        return None
    keys: list[Key] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            keys += read_keys(source, where)
        except ConfigError as error:
            problems += error.problems
    try:
        trust = None if problems else Trust(keys, required)
    except ValueError as error:
        problems.append(Problem(where, str(error), "'thalweg keys generate' makes keys, 'thalweg keys show' tells."))
    if problems:
        raise ConfigError(problems)
    return trust


def read_keys(source: str, where: str) -> list[Key]:
    """Return the keys that a reference leads to, one a line; lines that begin with ``#`` are comments.

    Raises
    ------
    ConfigError
        It is no reference, cannot be read, or a line of it is no key. No key is in the error.
    """
    try:
        found = parse_secret_source(source)
    except ValueError as error:
        raise ConfigError([Problem(where, str(error), "")]) from None
    keys, problems = [], []
    for number, line in enumerate(found.read(where).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                keys.append(parse_key(line))
                if keys[-1].signs:
                    remember(line.strip().rpartition(":")[2])
            except ValueError as error:
                problems.append(Problem(where, f"line {number} of {found}: {error}", ""))
    if problems:
        raise ConfigError(problems)
    return keys


def _message(algorithm: str, key_id: str, purpose: str, content: bytes) -> bytes:
    return f"thalweg {purpose} {algorithm} {key_id}\n".encode() + content


def _bytes(text: str) -> bytes | None:
    """Return what base64 stands for; None where another text would stand for the same."""
    try:
        made = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return made if base64.urlsafe_b64encode(made).decode().rstrip("=") == text else None
