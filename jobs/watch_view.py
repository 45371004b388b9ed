"""The screen of ``thalweg watch``, drawn from its state; what comes from topics is shown as text and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from thalweg.jobs.output import printable
from thalweg.jobs.watch_state import ModelState, WatchState

__all__ = ["facts", "sparkline", "view"]

_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return the newest values as bars between the least and the greatest of them.

    Examples
    --------
    >>> sparkline([0, 1, 2, 3])
    '▁▃▆█'
    >>> sparkline([5, 5])
    '▄▄'
    """
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high == low:
        return _BARS[3] * len(shown)
    return "".join(_BARS[min(7, int((value - low) / (high - low) * 7 + 0.5))] for value in shown)


def view(state: WatchState, now_ms: int) -> RenderableType:
    """Return the whole screen as of ``now_ms``, epoch ms."""
    parts: list[RenderableType] = [_models(state, now_ms), Text(), _metrics(state)]
    if any(model.open_alerts for model in state.models.values()) or state.recent:
        parts += [Text(), _alerts(state)]
    if not state.models:
        parts = [Text("Nothing has come yet.")]
    for number, what in (
        (state.passed_over, "passed over, more than there is time to read"),
        (state.unreadable, "unreadable"),
    ):
        if number:
            parts.append(Text(f"{number:,} records {what}.", style="dim"))
    return Group(*parts)


def facts(state: WatchState, now_ms: int) -> list[dict[str, object]]:
    """Return the same as plain values, one mapping per model."""
    return [
        {
            "model": name,
            "version": model.version,
            "predictions": dict(sorted(model.statuses.items())),
            "predictions_per_s": round(model.rate(now_ms), 2),
            "learned": model.learned,
            "behind_ms": _behind(model),
            "silent_ms": None if model.came_ms is None else max(0, now_ms - model.came_ms),
            "rolling": {metric: values[-1] for metric, values in sorted(model.rolling.items())},
            "cumulative": dict(sorted(model.cumulative.items())),
            "worst": {metric: list(found) for metric, found in sorted(model.worst.items())},
            "snapshots": model.snapshots,
            "open_alerts": sorted(model.open_alerts),
        }
        for name, model in sorted(state.models.items())
    ]


def _models(state: WatchState, now_ms: int) -> Table:
    table = _table("model", "version", "rate/s", "predictions", "not ready", "refused", "behind", "silent", "labels",
                   "pending", "snapshots", "alerts", right=range(2, 12))  # fmt: skip
    for name, model in sorted(state.models.items()):
        books, known = model.cumulative, sum(model.statuses.values())
        alerts = len(model.open_alerts)
        table.add_row(
            _text(name, "bold"),
            _text(model.version[:16]),
            f"{model.rate(now_ms):,.1f}" if known else "",
            f"{known:,}" if known else "",
            f"{model.statuses.get('not_ready', 0):,}" if known else "",
            f"{model.statuses.get('refused', 0):,}" if known else "",
            _span(_behind(model)),
            _span(None if model.came_ms is None else max(0, now_ms - model.came_ms)),
            _number(books.get("labels_matched")),
            _number(books.get("labels_pending")),
            f"{model.snapshots:,}" if model.snapshots else "",
            Text(str(alerts), style="bold red") if alerts else "",
        )
    return table


def _metrics(state: WatchState) -> Table:
    table = _table("model", "rolling metric", "now", "since start", "course", "worst slice", right=(2, 3))
    for name, model in sorted(state.models.items()):
        for metric, values in sorted(model.rolling.items()):
            slice_, value = model.worst.get(metric, ("", 0.0))
            since = model.cumulative.get(metric)
            table.add_row(
                _text(name), _text(metric), f"{values[-1]:.4g}", "" if since is None else f"{since:.4g}",
                sparkline(values), _text(f"{slice_}: {value:.4g}" if slice_ else ""),
            )  # fmt: skip
    return table


def _alerts(state: WatchState) -> Table:
    table = _table("since", "severity", "model", "alert", "reason")
    found = [alert for model in state.models.values() for alert in model.open_alerts.values()]
    found += [alert for alert in state.recent if alert["state"] == "cleared"]
    for alert in sorted(found, key=lambda alert: alert["event_time_ms"], reverse=True)[:12]:
        cleared = alert["state"] == "cleared"
        style = "dim" if cleared else _STYLES.get(alert["severity"], "")
        moment = datetime.fromtimestamp(alert["event_time_ms"] / 1000, timezone.utc).isoformat(" ", "seconds")[:19]
        severity = "cleared" if cleared else alert["severity"]
        cells = (moment, severity, alert["model"], alert["alert"], alert["reason"])
        table.add_row(*(_text(cell, style) for cell in cells))
    return table


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at in right else "left", overflow="fold")
    return table


def _behind(model: ModelState) -> int | None:
    """Return how long after its event the newest answer came, ms; None for a replay of old events, or no answer."""
    if model.came_ms is None or model.event_ms is None:
        return None
    behind = model.came_ms - model.event_ms
    return behind if 0 <= behind < 30 * 86_400_000 else None


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text).replace("\n", " "), style=style)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _span(ms: int | None) -> str:
    if ms is None:
        return ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms} ms"
