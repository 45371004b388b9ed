"""What a comparison has found so far, from its decisions and metrics: a table and a sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

__all__ = ["COLUMNS", "experiment_names", "experiment_status"]

COLUMNS = ("model", "role", "traffic", "served", "metric", "latency p99", "against the default", "evidence", "verdict")
"""Of the table of models."""

# Figures of an arm that are no loss: what is left is the metric that the models are compared by.
_OTHER = (
    "difference", "share", "events", "served", "failures", "agreement", "evidence", "default", "mirror", "stopped",
    "skipped",
)  # fmt: skip

_Record = Mapping[str, Any]


def experiment_names(decisions: Iterable[_Record]) -> list[str]:
    """Return the comparisons that have decisions, the start being the first one; models decide about themselves."""
    return sorted({record["model"] for record in decisions if record["arm"] != record["model"]})


def experiment_status(name: str, decisions: Iterable[_Record], metrics: Iterable[_Record]) -> dict[str, Any]:
    """Return the state of a comparison.

    Parameters
    ----------
    name : str
        The comparison.
    decisions, metrics : iterable of dict
        Records of the topics, in any order; those of others are passed over.

    Returns
    -------
    dict
        ``name``, ``default``, ``frozen``, ``models`` (a dict with ``COLUMNS`` per model, and the numbers behind them),
        ``last`` (the last decision, or None), ``next`` (what happens next, a sentence), ``at`` (time of the newest
        figure, ISO 8601, or None).
    """
    told = sorted(
        (record for record in decisions if record["model"] == name), key=lambda record: record["event_time_ms"]
    )
    figures: dict[str, dict[str, tuple[int, float, int]]] = {}
    for record in metrics:
        if record["model"] != name or record["slice"] or not record["model_version"]:
            continue
        own = figures.setdefault(record["model_version"], {})
        # The newest of each: records of one topic may come from several partitions.
        if record["event_time_ms"] >= own.get(record["metric"], (-(1 << 63), 0.0, 0))[0]:
            own[record["metric"]] = (record["event_time_ms"], record["value"], record["count"])
    shares: dict[str, float] = dict(told[-1]["shares"]) if told else {}
    default = _default(told, figures, shares)
    frozen = next((r["decision"] == "freeze" for r in reversed(told) if r["decision"] in ("freeze", "resume")), False)
    arms = list(dict.fromkeys([*shares, *sorted(figures)]))
    arms.sort(key=lambda arm: (arm != default, -shares.get(arm, 0.0)))
    models = [_model(arm, figures.get(arm, {}), shares.get(arm), arm == default, told) for arm in arms]
    newest = max((entry[0] for own in figures.values() for entry in own.values()), default=None)
    return {
        "name": name,
        "default": default,
        "frozen": frozen,
        "models": models,
        "last": _last(told[-1]) if told else None,
        "next": _next(name, told, frozen, models),
        "at": None if newest is None else _moment(newest),
    }


def _default(told: list[_Record], figures: Mapping[str, Mapping[str, Any]], shares: Mapping[str, float]) -> str:
    for record in reversed(told):
        if record["decision"] in ("promote", "rollback"):
            return str(record["arm"])
    for arm, own in figures.items():
        if own.get("default", (0, 0.0, 0))[1] == 1:
            return arm
    return max(shares, key=lambda arm: shares[arm], default="")


def _model(
    arm: str, own: Mapping[str, tuple[int, float, int]], share: float | None, is_default: bool, told: list[_Record]
) -> dict[str, Any]:
    """Return one row of the table, with the numbers behind it."""
    values = {metric: value for metric, (_, value, _) in own.items()}
    loss = next((m for m in own if m not in _OTHER and not m.startswith(("latency_", "cost_")) and "." not in m), None)
    better, lower, upper = (values.get(f"difference{end}") for end in ("", ".lower", ".upper"))
    lower, upper = (better if end is None else end for end in (lower, upper))
    stops = [record["reason"] for record in told if (record["decision"], record["arm"]) == ("stop", arm)]
    stopped = bool(stops) and not share
    serves = bool(share)
    role = "default" if is_default else "candidate" if serves or stopped else "shadow"
    if is_default:
        verdict = "answers where nobody else does"
    elif stopped:
        verdict = "stopped: " + ("it was worse" if " is worse than " in stops[-1] else "it broke a guardrail")
    elif better is None or lower is None or upper is None:
        verdict = "nothing measured yet"
    elif lower > 0:
        verdict = "better than the default"
    elif upper < 0:
        verdict = "worse than the default"
    else:
        verdict = "cannot be told apart yet"
    return {
        "model": arm,
        "role": role,
        "traffic": "-" if share is None else f"{share:g} %",
        "served": "-" if "served" not in own else f"{values['served']:,.0f}",
        "metric": "-" if loss is None else f"{loss} {_interval(values, loss)}, {own[loss][2]:,} events",
        "latency p99": "-" if "latency_p99" not in values else f"{values['latency_p99']:.3g} ms",
        "against the default": "-" if is_default or better is None else _interval(values, "difference", signed=True),
        "evidence": "-" if is_default or "evidence" not in values else f"{values['evidence']:.1%}",
        "verdict": verdict,
        "share": share,
        "figures": dict(sorted(values.items())),
    }


def _interval(values: Mapping[str, float], metric: str, signed: bool = False) -> str:
    form = "+.4g" if signed else ".4g"
    text = f"{values[metric]:{form}}"
    lower, upper = values.get(f"{metric}.lower"), values.get(f"{metric}.upper")
    return text if lower is None or upper is None else f"{text} ({lower:{form}} to {upper:{form}})"


def _last(record: _Record) -> dict[str, Any]:
    return {
        "decision": record["decision"],
        "arm": record["arm"],
        "decided_by": record["decided_by"],
        "reason": record["reason"],
        "at": _moment(record["event_time_ms"]),
    }


def _next(name: str, told: list[_Record], frozen: bool, models: list[dict[str, Any]]) -> str:
    """Say what happens next."""
    if not told and not models:
        return "Nothing has been measured yet."
    if frozen:
        who = next(record["decided_by"] for record in reversed(told) if record["decision"] == "freeze")
        return f"{who} has frozen it: nothing changes until `thalweg experiment resume {name}`."
    for record in reversed(told):
        if record["decision"] in ("promote", "rollback"):
            break
        if record["decision"] == "recommend":
            arm = record["arm"]
            return f"{arm} is recommended: `thalweg experiment promote {name} {arm}` makes it the default."
    ahead = [
        model for model in models if model["role"] != "default" and model["figures"].get("difference.lower", 0) > 0
    ]
    if ahead:
        return f"{ahead[0]['model']} is ahead; it wins once it has enough events and time, and keeps the guardrails."
    return "It goes on measuring: no candidate is known to be better."


def _moment(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return f"{ms} ms"
