"""The options of ``CREATE MODEL`` with the provider ``compare``: which there are, what each means, how each is read."""

from __future__ import annotations

import math
from collections.abc import Callable

from thalweg.udfs.engines.choices import one_of, whole
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.logic.guardrails import parse_guardrails
from thalweg.udfs.logic.key_options import read_sources
from thalweg.udfs.logic.options import OPTIONS, Option

__all__ = ["COMPARE_OPTIONS", "Shares", "read_shares"]

Shares = tuple[tuple[str, float], ...]
"""Models and their percentages, in the order in which they are named."""


def read_shares(text: str) -> Shares:
    """Read models with their percentages.

    Raises
    ------
    ValueError
        Names the first part that cannot be read, or is there twice.

    Examples
    --------
    >>> read_shares("delay_v2:20, delay_v3:10")
    (('delay_v2', 20.0), ('delay_v3', 10.0))
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition(":"))
        percent = _number(share)
        if not name or not 0 <= percent <= 100:
            raise ValueError(f"'{part.strip()}' is not of the form 'delay_v2:20', a model and its percentage.")
        if name in shares:
            raise ValueError(f"'{name}' is named twice.")
        shares[name] = percent
    return tuple(shares.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _within(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = _number(text)
        if not least < value <= most:
            raise ValueError(f"'{text}' is not a number above {least:g} and at most {most:g}.")
        return value

    return read


_text = OPTIONS["model"].read


def _option(read: Callable[[str], object], default: str | None, meaning: str) -> Option:
    return Option(read, default, False, meaning)


COMPARE_OPTIONS: dict[str, Option] = {
    "provider": _option(one_of("compare"), None, "`compare`"),
    "default": _option(_text, None, "the model that answers for everybody who is in no candidate's share"),
    "candidates": _option(
        read_shares, None, "models that answer for a part of the units, in percent: `delay_v2:20, delay_v3:10`"
    ),
    "mirror": _option(
        read_shares, None, "shadows: models that never answer, with the percent of the events that they score"
    ),
    "shadow-budget": _option(
        parse_duration_ms, None, "time per event that a shadow may take: slower, it skips events, counted as `skipped`"
    ),
    "unit": _option(
        _text, None, "column of the input table, such as a user: a unit keeps its model; default: each event for itself"
    ),
    "salt": _option(_text, None, "of the hash that deals the units; default: the name of the comparison"),
    "metric": _option(_text, None, "the loss by which models are compared; default: `LogLoss`, of numbers `MAE`"),
    "reward": _option(
        _text,
        None,
        "column of the label table, such as revenue: compare by what who was served brought, not by the loss",
    ),
    "reward-base": _option(_text, None, "column that a reward is divided by, of a ratio such as clicks per view"),
    "reward-cap": _option(_within(0.0, math.inf), None, "a reward above counts as this much"),
    "guardrails": _option(
        parse_guardrails,
        "none",
        "what a candidate must keep: `LogLoss not worse than 0.01; latency_p99 < 50 ms; slice(carrier)`",
    ),
    "slices": _option(
        OPTIONS["slices"].read, None, "columns of the input table by whose values models are compared too"
    ),
    "alpha": _option(_within(0.0, 0.5), "0.05", "chance of promoting a model that is not better, whenever one looks"),
    "min-samples": _option(whole(1, 999_999_999), "1000", "events with an outcome before anything is decided"),
    "min-duration": _option(
        parse_duration_ms, None, "time of the stream before anything is decided, and between two decisions"
    ),
    "promote": _option(
        one_of("auto", "manual"), "manual", "`auto`: a winner becomes the default; `manual`: it is recommended"
    ),
    "allocation": _option(
        one_of("fixed", "thompson", "epsilon", "ucb"), "fixed", "shares stay, or a bandit moves them to what does best"
    ),
    "exploration": _option(_within(0.0, 1.0), "0.1", "part of the units that a bandit spreads evenly over all models"),
    "apprentice-threshold": _option(
        _within(0.0, 1.0), None, "a candidate answers nobody until it agrees with the default that often"
    ),
    "serve-after": _option(
        whole(0, 999_999_999),
        "0",
        "outcomes on which a candidate is compared before it answers for anybody; for models that begin empty",
    ),
    "metrics-every": _option(
        OPTIONS["metrics-every"].read, "1 h", "how often it is looked at, decided and told: `1 h`, `1000 events`"
    ),
    "control-table": _option(_text, None, "table with the orders of people (`thalweg ddl control`)"),
    "control-keys": _option(
        read_sources,
        None,
        "where the keys lie whose orders are obeyed, `file:/path, env:NAME` on every TaskManager; others are refused",
    ),
    "control-max-age": _option(
        parse_duration_ms, "1 h", "with `control-keys`: an order that is older, in the time of the stream, is refused"
    ),
}
