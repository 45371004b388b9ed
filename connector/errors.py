"""The errors of Thalweg: each one names the culprit and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "ConfigError",
    "ModelError",
    "Problem",
    "RecordError",
    "SetupError",
    "SignatureError",
    "SnapshotError",
    "ThalwegError",
    "WireError",
]


class ThalwegError(Exception):
    """Root of all errors that Thalweg raises on purpose; its text is fit to be shown to a user as it is."""


class Problem(NamedTuple):
    """One thing that is wrong with a configuration.

    Attributes
    ----------
    where : str
        The culprit: model and option, or file and line.
    what : str
        What is wrong, in one sentence.
    remedy : str
        What to do about it, in one sentence.
    """

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy}".strip()


class ConfigError(ThalwegError):
    """A configuration that cannot work; lists every offender at once.

    Parameters
    ----------
    problems : iterable of Problem
        At least one.

    Examples
    --------
    >>> print(ConfigError([Problem("model delay, option 'cadense'", "unknown option.", "Did you mean 'cadence'?")]))
    model delay, option 'cadense': unknown option. Did you mean 'cadence'?
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return (ConfigError, (self.problems,))


class WireError(ThalwegError):
    """Bytes that are not a record of the schema they should have, or a record that does not fit its schema."""


class SnapshotError(ThalwegError):
    """A model snapshot that is damaged, foreign, hostile or too large."""


class SignatureError(SnapshotError):
    """A record that nobody who is trusted vouches for: not signed, signed by others, or changed since."""


class ModelError(ThalwegError):
    """A model that cannot be built, loaded, scored or restored."""


class RecordError(ThalwegError):
    """One row that a model refuses; the row goes on with this text as its reason."""


class SetupError(ThalwegError):
    """Something the machine lacks: Java, Maven, a jar, a broker, a cluster."""
