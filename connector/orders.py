"""Orders to running models that somebody vouches for: how one is signed, and how it is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from thalweg.connector.keys import Key
from thalweg.connector.signing import Trust, join_signature, part_signature, sign
from thalweg.connector.wire import encode

__all__ = ["Vouched", "check_order", "sign_order"]

_PURPOSE = "order"


class Vouched(NamedTuple):
    """An order that has been checked.

    Attributes
    ----------
    key_id : str
        Who signed it.
    order_id : str
        The same for each copy of one order, and for no other; 32 hexadecimal digits.
    """

    key_id: str
    order_id: str


def sign_order(record: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """Return a record of the schema ``control`` with the signature of a key behind its ``issued_by``.

    It stands for every field: model, command, argument, who, why, and the time to the millisecond.

    Raises
    ------
    WireError
        A field does not fit the schema.

    Examples
    --------
    >>> from thalweg.connector.keys import generate_key
    >>> key = generate_key("ed25519", "maria")
    >>> order = {"model": "delay", "command": "freeze", "argument": "", "issued_by": "me", "reason": "", "issued_ms": 1}
    >>> check_order(sign_order(order, key), Trust([key.public()], required=True)).key_id
    'maria'
    """
    who, _ = part_signature(record["issued_by"])
    content = encode("control", {**record, "issued_by": who})
    return {**record, "issued_by": join_signature(who, sign(key, _PURPOSE, content))}


def check_order(record: Mapping[str, Any], trust: Trust) -> Vouched:
    """Return who has signed an order.

    Parameters
    ----------
    record : mapping
        All fields of the schema ``control``.
    trust : Trust
        Whose orders are obeyed.

    Raises
    ------
    SignatureError
        It is not signed, by nobody who is trusted, or is not what was signed: also where it was addressed to another
        model, or is dated anew.
    WireError
        A field does not fit the schema.
    """
    who, signature = part_signature(record["issued_by"])
    content = encode("control", {**record, "issued_by": who})
    key_id = trust.check(_PURPOSE, content, signature, f"the order '{record['command'][:40]}'")
    return Vouched(key_id, hashlib.sha256(f"{key_id}\n".encode() + content).hexdigest()[:32])
