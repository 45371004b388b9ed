"""The values of text features that a model has met: up to a limit each is itself, all that come later are one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from thalweg.connector.errors import SnapshotError

__all__ = ["OTHER", "KnownValues"]

OTHER = "(other)"
"""What stands for a value that came when the limit was reached."""


class KnownValues:
    """Bounds what grows with the values of a text: one-hot weights, groups, target encodings, users, items.

    Parameters
    ----------
    columns : iterable of str
        Names of the text features.
    limit : int
        How many values of each column stay themselves: the first ones that are learned.

    Examples
    --------
    >>> known = KnownValues(["city"], limit=1)
    >>> known.learn({"city": "Ulm"})
    >>> known.limited({"city": "Ulm"}), known.limited({"city": "Jena"})
    ({'city': 'Ulm'}, {'city': '(other)'})
    """

    def __init__(self, columns: Iterable[str], limit: int) -> None:
        self._limit = limit
        self._seen: dict[str, dict[str, None]] = {name: {} for name in columns}

    def limited(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row as the model is to see it; the row itself stays as it is."""
        for name, seen in self._seen.items():
            if len(seen) >= self._limit and type(value := row.get(name)) is str and value not in seen:
                row = {**row, name: OTHER}
        return row

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take note of the values of a row that was learned."""
        for name, seen in self._seen.items():
            if len(seen) < self._limit and (value := row.get(name)) is not None:
                seen[value] = None

    def dump(self) -> dict[str, tuple[str, ...]]:
        """Return the values by column, in the order in which they came."""
        return {name: tuple(seen) for name, seen in self._seen.items()}

    def load(self, values: Any) -> None:
        """Take over what ``dump`` returned, of these columns or fewer; raises SnapshotError."""
        if type(values) is not dict or not self._seen.keys() >= values.keys():
            raise SnapshotError("the snapshot holds values of features that the model does not have.")
        for name, found in values.items():
            if type(found) is not tuple or not all(type(value) is str for value in found):
                raise SnapshotError("the snapshot holds values of a text that are no texts.")
            self._seen[name] = dict.fromkeys(found)
