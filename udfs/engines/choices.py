"""Readers of options: one of a few words, a whole number; one sentence for what is not."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["one_of", "whole"]


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
