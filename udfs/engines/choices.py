"""Readers of options: one of a few words, a whole number, with a sentence for what is not; and all of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thalweg.connector.errors import Problem
from thalweg.udfs.engines.base import EngineSpec

__all__ = ["one_of", "read_options", "whole"]


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of an option that gives back one of ``choices`` and raises ValueError for anything else.

    Examples
    --------
    >>> one_of("null", "nan")("nan")
    'nan'
    """

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"'{text}' is not one of {', '.join(choices)}.")
        return text

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of an option that is a whole number of up to nine digits; it raises ValueError for others.

    Examples
    --------
    >>> whole(1, 16)("2")
    2
    """

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
            raise ValueError(f"'{text}' is not a whole number from {least:,} to {most:,}.")
        return int(text)

    return read


def read_options(
    spec: EngineSpec, readers: Mapping[str, Callable[[str], Any]], defaults: Mapping[str, str], problems: list[Problem]
) -> dict[str, Any]:
    """Return the value of each option of an engine; what cannot be read goes into ``problems``, and has its default.

    Parameters
    ----------
    spec : EngineSpec
        Has the options that were given.
    readers : mapping of str to callable
        By option; one raises ValueError with a sentence.
    defaults : mapping of str to str
        By option, as text.
    problems : list of Problem
        Is added to.
    """
    values: dict[str, Any] = {}
    for name, read in readers.items():
        try:
            values[name] = read(spec.param(name, defaults[name]))
        except ValueError as error:
            problems.append(Problem(f"option '{name}'", str(error), f"The default is '{defaults[name]}'."))
            values[name] = read(defaults[name])
    return values
