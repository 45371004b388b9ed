"""The keys that snapshots and orders are signed with: HMAC-SHA256 (RFC 2104) and Ed25519 (RFC 8032).

A key is one line of text, ``kind:id:base64``. Its kind stands in the key and is never taken from a signature, and an
HMAC secret has 64 bytes where an Ed25519 key has 32: no public key can be used as a secret, by mistake or on purpose.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["ED25519", "HMAC", "SIZES", "Key", "generate_key", "parse_key"]

HMAC, ED25519 = "hmac-sha256", "ed25519"
"""Algorithms, as they stand in a signature."""

_PRIVATE, _PUBLIC = "ed25519-private", "ed25519-public"
_KINDS = {HMAC: (HMAC, 64), _PRIVATE: (ED25519, 32), _PUBLIC: (ED25519, 32)}  # kind of a key: algorithm, bytes
SIZES = {HMAC: 32, ED25519: 64}
"""Bytes of a signature, by algorithm."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Key:
    """One key. Nothing of what is secret in it is in its text, and it cannot be pickled into a job.

    Parameters
    ----------
    kind : str
        ``hmac-sha256``, ``ed25519-private`` or ``ed25519-public``.
    id : str
        Its name, for rotation and for the record: 1 to 64 letters, digits, ``.``, ``_`` or ``-``.
    data : bytes
        64 bytes of an HMAC secret, 32 of an Ed25519 key.

    Raises
    ------
    ValueError
        One sentence about what is wrong, without the key.
    """

    def __init__(self, kind: str, id: str, data: bytes) -> None:
        if kind not in _KINDS:
            raise ValueError(f"a key is of kind {', '.join(_KINDS)}, and begins with it.")
        self.algorithm, size = _KINDS[kind]
        if not _ID.fullmatch(id):
            raise ValueError("the id of a key has 1 to 64 letters, digits, '.', '_' or '-', and begins with no sign.")
        if len(data) != size:
            raise ValueError(f"a key of kind {kind} has {size} bytes, and this one has {len(data)}.")
        self.kind, self.id, self._data = kind, id, data
        # Made once: to derive the public half takes as long as a signature.
        self._private = Ed25519PrivateKey.from_private_bytes(data) if kind == _PRIVATE else None
        self._verifier = data if self._private is None else self._private.public_key().public_bytes_raw()
        self._public = None if kind == HMAC else Ed25519PublicKey.from_public_bytes(self._verifier)

    def __repr__(self) -> str:
        return f"Key({self.kind!r}, {self.id!r}, {self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key stays in the process that has read it.")

    @property
    def signs(self) -> bool:
        """Whether it can sign; a public key only verifies."""
        return self.kind != _PUBLIC

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of what verifies: of both halves of a pair the same."""
        return hashlib.sha256(b"thalweg fingerprint\n" + self._verifier).hexdigest()[:16]

    def public(self) -> Key:
        """Return what others verify with; of an HMAC secret, which is all there is, the key itself."""
        return Key(_PUBLIC, self.id, self._verifier) if self.kind == _PRIVATE else self

    def text(self) -> str:
        """Return the line that ``parse_key`` reads; of a private key or a secret it is the secret."""
        return f"{self.kind}:{self.id}:{base64.urlsafe_b64encode(self._data).decode().rstrip('=')}"

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message; raises ValueError for a public key."""
        if self.kind == HMAC:
            return hmac.digest(self._data, message, "sha256")
        if self._private is not None:
            return self._private.sign(message)
        raise ValueError(f"the key '{self.id}' is a public one, which cannot sign.")

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's, in a time that does not depend on the secret."""
        if self._public is None:
            return hmac.compare_digest(hmac.digest(self._data, message, "sha256"), signature)
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def generate_key(algorithm: str, id: str) -> Key:
    """Return a new key that signs.

    Parameters
    ----------
    algorithm : str
        ``hmac-sha256`` or ``ed25519``.
    id : str
        As in ``Key``.

    Examples
    --------
    >>> key = generate_key("ed25519", "ci-2026")
    >>> key.public().verifies(b"model", key.sign(b"model"))
    True
    """
    if algorithm == HMAC:
        return Key(HMAC, id, secrets.token_bytes(64))
    return Key(_PRIVATE, id, Ed25519PrivateKey.generate().private_bytes_raw())


def parse_key(line: str) -> Key:
    """Return the key that a line holds; raises ValueError, with one sentence that does not quote it.

    Examples
    --------
    >>> parse_key("ed25519-public:ci-2026:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    Key('ed25519-public', 'ci-2026', 6c3fd590f7d6a649)
    """
    kind, *rest = line.strip().split(":")
    if len(rest) != 2:
        raise ValueError("a key is one line: its kind, its id and its bytes as base64, with ':' between.")
    try:
        data = base64.b64decode(rest[1] + "=" * (-len(rest[1]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the bytes of a key are base64 as in URLs.") from None
    return Key(kind, rest[0], data)
