"""Charts as SVG elements: lines over time with marks, bars, and points against a diagonal.

Elements are built, never text: what comes from topics cannot leave the place of a text or an attribute. Colours are
classes (``s0`` to ``s5``, ``mark``, ``grid``), which the page gives for light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple, TypeVar
from xml.etree.ElementTree import Element, SubElement

__all__ = ["Line", "Mark", "bar_chart", "clean", "figure_number", "line_chart", "moment", "square_chart"]

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 14, 30
_COLOURS = 6
_TINY = 1e-200
_DRAWN = 600  # points of a line; a screen shows no more
_Point = TypeVar("_Point")


class Line(NamedTuple):
    """A line: its name, its points, x in epoch ms, and around it an interval (x, lower, upper) where there is one."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()


class Mark(NamedTuple):
    """A vertical mark: when, what it means, and its class ``alert`` or ``version``."""

    at_ms: int
    name: str
    kind: str


def clean(text: object) -> str:
    r"""Return a text without the control characters that a page must not have.

    Examples
    --------
    >>> clean("a\x00b")
    'a\ufffdb'
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else "\ufffd"
        for sign in str(text).encode("utf-8", "replace").decode()
    )


def figure_number(value: float) -> str:
    """Return a number as people read it.

    Examples
    --------
    >>> figure_number(0.73144), figure_number(1234567.0), figure_number(0.0)
    ('0.7314', '1,234,567', '0')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def moment(at_ms: float) -> str:
    """Return a time in UTC, to the minute; of a time that no calendar has, the number.

    Examples
    --------
    >>> moment(1_357_000_000_000)
    '2013-01-01 00:26'
    """
    try:
        return datetime.fromtimestamp(at_ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms:.0f} ms"


def line_chart(title: str, description: str, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> Element:
    """Return lines over time; ``description`` is what a reader hears who does not see it."""
    svg = _svg(title, description, _WIDTH, _HEIGHT)
    xs = [x for line in lines for x, _ in line.points] + [x for line in lines for x, _, _ in line.band]
    ys = [y for line in lines for _, y in line.points]
    ys += [end for line in lines for _, *ends in line.band for end in ends]
    x_of = _Scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    low, high, ticks = _ticks(min(ys), max(ys))
    y_of = _Scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    _grid(svg, ticks, y_of)
    for at, anchor in ((min(xs), "start"), ((min(xs) + max(xs)) / 2, "middle"), (max(xs), "end")):
        _label(svg, x_of(at), _HEIGHT - 10, moment(at), anchor)
    for mark in marks:
        if min(xs) <= mark.at_ms <= max(xs):
            across = f"{x_of(mark.at_ms):.1f}"
            drawn = SubElement(
                svg,
                "line",
                {
                    "x1": across,
                    "x2": across,
                    "y1": str(_TOP),
                    "y2": str(_HEIGHT - _BOTTOM),
                    "class": f"mark {mark.kind}",
                },
            )
            SubElement(drawn, "title").text = clean(f"{moment(mark.at_ms)}: {mark.name}")
    for number, line in enumerate(lines):
        colour = f"s{number % _COLOURS}"
        if len(line.band) > 1:
            edge = [(x, upper) for x, _, upper in _thinned(line.band)]
            edge += [(x, lower) for x, lower, _ in reversed(_thinned(line.band))]
            path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in edge)
            SubElement(svg, "polygon", {"points": path, "class": f"band {colour}"})
        if not line.points:  # it keeps its colour, for it has a line in the chart beside this one
            continue
        shown = _thinned(line.points)
        if len(shown) == 1:
            ((x, y),) = shown
            SubElement(
                svg, "circle", {"cx": f"{x_of(x):.1f}", "cy": f"{y_of(y):.1f}", "r": "3", "class": f"dot {colour}"}
            )
            continue
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in shown)
        drawn = SubElement(svg, "polyline", {"points": path, "class": f"line {colour}"})
        SubElement(drawn, "title").text = clean(line.name)
    return svg


def _thinned(points: Sequence[_Point]) -> list[_Point]:
    """Return as many of the points as a screen can show, the first and the last one among them."""
    step = max(1, math.ceil(len(points) / _DRAWN))
    return [*points[::step], *([points[-1]] if (len(points) - 1) % step else [])]


def bar_chart(title: str, description: str, bars: Sequence[tuple[str, float]]) -> Element:
    """Return bars from zero, each with the text below it; every so many texts are shown, as there is room."""
    svg = _svg(title, description, _WIDTH, _HEIGHT)
    low, high, ticks = _ticks(0.0, max(value for _, value in bars) or 1.0)
    y_of = _Scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    _grid(svg, ticks, y_of)
    width = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    every = max(1, math.ceil(len(bars) / 8))
    for at, (name, value) in enumerate(bars):
        x = _LEFT + at * width
        size = {"x": f"{x + 1:.1f}", "y": f"{y_of(value):.1f}", "width": f"{max(1.0, width - 2):.1f}"}
        drawn = SubElement(
            svg, "rect", {**size, "height": f"{max(0.0, y_of(low) - y_of(value)):.1f}", "class": "bar s0"}
        )
        SubElement(drawn, "title").text = clean(f"{name}: {figure_number(value)}")
        if at % every == 0:
            _label(svg, x + width / 2, _HEIGHT - 10, name[:14], "middle")
    return svg


def square_chart(title: str, description: str, points: Sequence[tuple[float, float, float]]) -> Element:
    """Return points (x, y, weight) between 0 and 1 against the diagonal; a heavier point is larger."""
    side = 320
    svg = _svg(title, description, side, side)
    x_of, y_of = _Scale(0.0, 1.0, _LEFT, side - _RIGHT), _Scale(0.0, 1.0, side - _BOTTOM, _TOP)
    _grid(svg, (0.0, 0.25, 0.5, 0.75, 1.0), y_of, side - _RIGHT)
    for tick in (0.0, 0.5, 1.0):
        _label(svg, x_of(tick), side - 10, figure_number(tick), "middle")
    ends = {"x1": f"{x_of(0):.1f}", "y1": f"{y_of(0):.1f}", "x2": f"{x_of(1):.1f}", "y2": f"{y_of(1):.1f}"}
    SubElement(svg, "line", {**ends, "class": "grid diagonal"})
    heaviest = max(weight for _, _, weight in points) or 1.0
    SubElement(
        svg, "polyline", {"points": " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y, _ in points), "class": "line s0"}
    )
    for x, y, weight in points:
        radius = 2 + 6 * math.sqrt(weight / heaviest)
        place = {"cx": f"{x_of(x):.1f}", "cy": f"{y_of(y):.1f}", "r": f"{radius:.1f}", "class": "dot s0"}
        told = f"said {figure_number(x)}, was {figure_number(y)}, {figure_number(weight)} events"
        SubElement(SubElement(svg, "circle", place), "title").text = told
    return svg


def _svg(title: str, description: str, width: int, height: int) -> Element:
    svg = Element(
        "svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": clean(f"{title}. {description}")}
    )
    svg.set("style", f"max-width:{width}px")
    SubElement(svg, "title").text = clean(title)
    SubElement(svg, "desc").text = clean(description)
    return svg


def _grid(svg: Element, ticks: Sequence[float], y_of: _Scale, right: float = _WIDTH - _RIGHT) -> None:
    for tick in ticks:
        y = f"{y_of(tick):.1f}"
        SubElement(svg, "line", {"x1": str(_LEFT), "x2": f"{right:.0f}", "y1": y, "y2": y, "class": "grid"})
        _label(svg, _LEFT - 6, y_of(tick) + 4, figure_number(tick), "end")


def _label(svg: Element, x: float, y: float, text: str, anchor: str) -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = clean(text)


class _Scale:
    """From values to places on the drawing."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self._low, self._begin = low, begin
        wide = high - low > _TINY
        self._factor = (end - begin) / (high - low) if wide else 0.0
        self._middle = None if wide else (begin + end) / 2

    def __call__(self, value: float) -> float:
        return self._middle if self._middle is not None else self._begin + (value - self._low) * self._factor


def _ticks(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return an interval around both ends, and some round numbers in it."""
    if high - low <= max(1e-12 * abs(high), _TINY):
        pad = max(abs(high) * 0.1, 1.0 if abs(high) < _TINY else 0.0)
        low, high = low - pad, high + pad
    rough = (high - low) / 4
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return first * step, last * step, [number * step for number in range(first, last + 1)]
