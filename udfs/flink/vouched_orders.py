"""Who vouches for the orders of people: checked before the machine of a comparison sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from thalweg.connector.errors import SignatureError, WireError
from thalweg.connector.orders import check_order
from thalweg.connector.signing import Trust, part_signature
from thalweg.udfs.logic.comparison import COMMAND

__all__ = ["vouched"]

_KIND, _COMMAND, _DETAIL = 0, 7, 8
_FIELDS = ("argument", "issued_by", "reason", "issued_ms")


def vouched(columns: Sequence[list[Any]], name: str, trust: Trust | None) -> list[list[Any]]:
    """Return the columns of a block with what is known of who gave its orders.

    Parameters
    ----------
    columns : sequence of lists
        As a comparison reads them.
    name : str
        Of the comparison, which the orders are addressed to.
    trust : Trust or None
        Whose orders are obeyed; None, everybody's.

    Returns
    -------
    list of lists
        ``detail`` of an order has no signature any more, and with ``trust`` either ``key_id`` and ``order_id``, or
        ``refused`` with the reason.
    """
    orders = [at for at, kind in enumerate(columns[_KIND]) if kind == COMMAND]
    if not orders:
        return list(columns)
    details = list(columns[_DETAIL])
    for at in orders:
        told = _told(details[at])
        if trust is not None:
            told |= _checked({"model": name, "command": columns[_COMMAND][at]} | told, trust)
        told["issued_by"] = part_signature(str(told.get("issued_by") or ""))[0]
        details[at] = json.dumps(told, sort_keys=True)
    return [*columns[:_DETAIL], details, *columns[_DETAIL + 1 :]]


def _told(detail: str | None) -> dict[str, Any]:
    """Return the fields of an order, and none that only who checks it may set."""
    try:
        found = json.loads(detail or "{}")
    except (ValueError, RecursionError):
        return {}
    return {field: found[field] for field in _FIELDS if field in found} if isinstance(found, dict) else {}


def _checked(told: dict[str, Any], trust: Trust) -> dict[str, str]:
    try:
        record = {field: told[field] for field in ("model", "command", *_FIELDS)}
        if not all(isinstance(record[field], str) for field in ("command", "issued_by")):
            raise WireError("a field of it is NULL.")
        found = check_order(record, trust)
    except (SignatureError, WireError, KeyError) as error:
        reason = "it is not a whole order" if isinstance(error, (WireError, KeyError)) else str(error).rstrip(".")
        return {"refused": reason}
    return {"key_id": found.key_id, "order_id": found.order_id}
