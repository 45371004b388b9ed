"""Durations as Flink writes them: ``'12 h'``, ``'10 min'``, ``'100 ms'``."""

from __future__ import annotations

import re

__all__ = ["parse_duration_ms"]

_UNITS = {
    86_400_000: ("d", "day", "days"),
    3_600_000: ("h", "hour", "hours"),
    60_000: ("m", "min", "minute", "minutes"),
    1_000: ("s", "sec", "secs", "second", "seconds"),
    1: ("", "ms", "milli", "millis", "millisecond", "milliseconds"),
}
_FACTOR = {label: factor for factor, labels in _UNITS.items() for label in labels}
_TEXT = re.compile(r"\s*(\d{1,15})\s*([a-z]*)\s*", re.ASCII)


def parse_duration_ms(text: str) -> int:
    """Return a Flink duration in milliseconds; without a unit it is milliseconds, as in Flink.

    Raises
    ------
    ValueError
        Not a duration, or not above zero.

    Examples
    --------
    >>> parse_duration_ms("12 h"), parse_duration_ms("10min"), parse_duration_ms("250")
    (43200000, 600000, 250)
    """
    found = _TEXT.fullmatch(text.lower())
    if found is None or found[2] not in _FACTOR:
        raise ValueError(f"'{text}' is not a duration such as '12 h', '10 min', '30 s' or '100 ms'.")
    value = int(found[1]) * _FACTOR[found[2]]
    if value <= 0:
        raise ValueError(f"'{text}' is not above zero.")
    return value
