"""State of an aggregate that lives as objects and is written as bytes, once per key and bundle.

PyFlink keeps the accumulator of a key as the Python object that it is, and pickles it when the state is written. A
``LiveState`` in it is pickled as plain ``bytes``: what stands in a checkpoint names no class of ours and no class of
River's, and is only ever read by the audited readers. After a restart, and whenever PyFlink's cache lets go of a key,
the accumulator holds these bytes again, and the next row restores the objects from them: never from anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thalweg.connector.errors import ConfigError, Problem, SnapshotError, ThalwegError
from thalweg.udfs.engines.model_plan import Call
from thalweg.udfs.engines.model_text import ModelText, parse

__all__ = ["LiveState", "damage_told", "named_part"]


class LiveState:
    """Base of the live states: ``dump`` is called once per change at most; a change sets ``_bytes`` to None."""

    def __init__(self) -> None:
        self._bytes: bytes | None = None

    def state(self) -> bytes:
        """Return the state as bytes, the same for the same state."""
        if self._bytes is None:
            self._bytes = self.dump()
        return self._bytes

    def dump(self) -> bytes:
        """Return the state as bytes."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.state(),)


@contextmanager
def damage_told(function: str) -> Iterator[None]:
    """Tell whatever goes wrong while a state is read as SnapshotError that names the SQL function."""
    try:
        yield
    except SnapshotError:
        raise
    except ThalwegError as error:
        raise SnapshotError(f"the state of {function} does not hold: {error}") from error
    except Exception as error:
        raise SnapshotError(f"the state of {function} is damaged ({type(error).__name__}).") from error


def named_part(function: str, what: str, text: object, modules: dict[str, str]) -> tuple[str, ModelText]:
    """Read the name of a metric or a detector, with or without options: ``ADWIN`` or ``ADWIN(delta=0.01)``.

    Parameters
    ----------
    function : str
        The SQL function, for people.
    what : str
        What is named, for people: ``metric``, ``detector``.
    text : str
        The argument.
    modules : dict of str to str
        The names that are allowed, each with its module in River.

    Returns
    -------
    tuple of (str, ModelText)
        The bare name and the audited text, ready to be constructed.

    Raises
    ------
    ConfigError
        Another name, or options that the class does not have.

    Examples
    --------
    >>> named_part("drift", "detector", "ADWIN(delta=0.01)", {"ADWIN": "drift"})[1].text
    'drift.ADWIN(delta=0.01)'
    """
    where = f"{function}({str(text)[:80]!r}, ...)"
    known = f"Known: {', '.join(sorted(modules))}."
    if not isinstance(text, str) or not text.strip():
        raise ConfigError([Problem(where, f"names no {what}.", known)])
    head, bracket, rest = text.strip().partition("(")
    name = head.strip().rpartition(".")[2]
    full = f"{modules.get(name, '')}.{name}"
    if name not in modules or head.strip() not in (name, full, f"river.{full}"):
        raise ConfigError([Problem(where, f"there is no such {what}.", known)])
    try:
        read = parse(full + bracket + rest if bracket else f"{full}()")
        if not isinstance(read.plan, Call) or read.plan.name != full:
            raise ConfigError([Problem(where, f"is more than one {what}.", "Name one, such as " + name + ".")])
        read.construct()
    except ConfigError as error:
        raise ConfigError(Problem(where, p.what, p.remedy) for p in error.problems) from None
    except Exception as error:  # a constructor may fail in any way on what it is given
        remedy = f"Check the options, or write {name} alone."
        raise ConfigError([Problem(where, f"cannot be made ({error}).", remedy)]) from None
    return name, read
