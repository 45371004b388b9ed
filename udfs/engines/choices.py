"""An option that is one of a few words: read in one place, with one sentence for what is none of them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["one_of"]


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
