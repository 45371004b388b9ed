"""What people order. Each order leaves a decision with who and why, also one that cannot be carried out."""

from __future__ import annotations

import json
import math
from typing import Any

from thalweg.udfs.logic.comparison_plan import Decision, Plan
from thalweg.udfs.logic.order_guard import OrderGuard
from thalweg.udfs.logic.promotion import Promotion

__all__ = ["COMMANDS", "obey", "read_weights"]

COMMANDS = ("promote", "rollback", "freeze", "resume", "weights")


def read_weights(text: str, plan: Plan) -> dict[int, float]:
    """Read the shares of arms, in percent.

    Raises
    ------
    ValueError
        One sentence that says what is wrong.

    Examples
    --------
    >>> from thalweg.udfs.logic.comparison_plan import Arm
    >>> read_weights("v2: 30", Plan("policy", (Arm("v1"), Arm("v2", 20)), "v1"))
    {1: 30.0}
    """
    places = {arm.name: at for at, arm in enumerate(plan.arms)}
    found: dict[int, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition(":"))
        try:
            percent = float(share)
        except ValueError:
            percent = math.nan
        if name not in places or not 0 <= percent <= 100:
            raise ValueError(f"'{part.strip()}' is not a model of {plan.name} and its percent, such as 'v2:30'.")
        if places[name] in found:
            raise ValueError(f"'{name}' is named twice.")
        found[places[name]] = percent
    return found


def obey(
    promotion: Promotion,
    plan: Plan,
    command: str,
    detail: str | None,
    now_ms: int,
    at_ms: int,
    guard: OrderGuard | None = None,
) -> Decision:
    """Carry out an order, and return the decision that tells who gave it, and why.

    Parameters
    ----------
    promotion : Promotion
        Changed in place.
    plan : Plan
        What is configured.
    command : str
        One of ``COMMANDS``.
    detail : str or None
        JSON object with ``argument``, ``issued_by``, ``reason``; and for a guard ``issued_ms`` with ``key_id`` and
        ``order_id`` of who vouches for it, or ``refused``, why nobody does.
    now_ms, at_ms : int
        When it is carried out, and after which events' time it holds.
    guard : OrderGuard, optional
        Obeys only what is vouched for, once and in time. The key then tells who gave the order.
    """
    told = _read(detail)
    argument, by = told["argument"].strip(), told["issued_by"] or "(unknown)"
    evidence = {"command": command, "argument": argument}
    if guard is not None:
        evidence["issued_by"] = by
        by = told["key_id"] or f"(unproven) {by}"
    try:
        if guard is not None:
            _admit(guard, told, now_ms)
        arm = _carry_out(promotion, plan, command, argument, now_ms)
    except ValueError as error:
        return promotion.decide("refuse", -1, f"'{command}' was not carried out: {error}", evidence, at_ms, by)
    decision = promotion.decide(command, arm, told["reason"] or "No reason was given.", evidence, at_ms, by)
    if command == "rollback":
        promotion.previous = -1
    return decision


def _admit(guard: OrderGuard, told: dict[str, str], now_ms: int) -> None:
    """Raise ValueError, and count, where nobody vouches for an order, it is too old, or it was given before."""
    against = told["refused"]
    if not against and not (told["key_id"] and told["order_id"] and told["issued_ms"].lstrip("-").isdecimal()):
        against = "nobody vouches for it"
    against = against or guard.objection(told["order_id"], int(told["issued_ms"]), now_ms)
    if against:
        guard.refused += 1
        raise ValueError(f"{against}.")


def _carry_out(promotion: Promotion, plan: Plan, command: str, argument: str, now_ms: int) -> int:
    """Change the state, or raise ValueError and change nothing; return whom it is about."""
    names = [arm.name for arm in plan.arms]
    if command in ("promote", "resume") and argument and argument not in names:
        raise ValueError(f"there is no model '{argument}' in {plan.name}, only {', '.join(names)}.")
    if command == "promote":
        if not argument:
            raise ValueError("it needs the name of a model.")
        arm = names.index(argument)
        if arm == promotion.default:
            raise ValueError(f"{argument} is the default already.")
        promotion.admitted.add(arm)
        promotion.replace(arm, now_ms)
        return arm
    if command == "rollback":
        if promotion.previous < 0:
            raise ValueError("there is no promotion to take back.")
        failed = promotion.default
        promotion.back(now_ms)
        promotion.stopped.add(failed)
        return promotion.default
    if command == "freeze":
        promotion.frozen = True
        return -1
    if command == "resume":
        if not argument:
            promotion.frozen = False
            return -1
        arm = names.index(argument)
        if arm not in promotion.stopped | promotion.rested:
            raise ValueError(f"{argument} was not stopped.")
        promotion.let_in(arm)
        if plan.apprentice_threshold is None:
            promotion.admitted.add(arm)
        promotion.wanted[arm] = 0.0
        if not plan.arms[arm].mirror:
            rest = 100 - sum(share for at, share in enumerate(promotion.shares()) if at != promotion.default)
            promotion.wanted[arm] = min(plan.arms[arm].share, max(rest, 0.0))
        return arm
    if command == "weights":
        _set_weights(promotion, plan, argument)
        return -1
    raise ValueError(f"it is none of {', '.join(COMMANDS)}.")


def _set_weights(promotion: Promotion, plan: Plan, argument: str) -> None:
    weights = read_weights(argument, plan)
    mirrors = [plan.arms[arm].name for arm, share in weights.items() if plan.arms[arm].mirror and share > 0]
    mirrors = [name for name in mirrors if name != plan.arms[promotion.default].name]
    if mirrors:
        raise ValueError(f"{', '.join(mirrors)} is a shadow, which serves nobody.")
    shares = promotion.shares()
    for arm, share in weights.items():
        shares[arm] = share
    others = sum(share for arm, share in enumerate(shares) if arm != promotion.default)
    asked = weights.get(promotion.default)
    if others > 100 or (asked is not None and abs(others + asked - 100) > 0.01):
        raise ValueError(f"the shares are {others + (asked or 0.0):g} percent together.")
    for arm, share in weights.items():
        promotion.wanted[arm] = share
        if share > 0:  # who gives an arm a share wants it to serve
            promotion.let_in(arm)
            promotion.admitted.add(arm)


def _read(detail: str | None) -> dict[str, str]:
    try:
        found: Any = json.loads(detail or "{}")
    except (ValueError, RecursionError):
        found = {}
    found = found if isinstance(found, dict) else {}
    names = ("argument", "issued_by", "reason", "key_id", "order_id", "refused", "issued_ms")
    return {name: "" if found.get(name) is None else str(found[name]) for name in names}
