"""What a job would hold and wait for: the costs of its models, multiplied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from thalweg.jobs.doctor import WORKER_BYTES
from thalweg.jobs.model_cost import ModelCost
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["Load", "ModelLoad", "duration_ms", "model_load", "python_bytes", "waits_ms"]

_CACHED = 800  # bytes of PyFlink's caches per model, beside the model (measured: 2.1 kB against 1.3 kB)
_ENTRY = 24  # bytes around an entry of a map in a checkpoint: shard, lengths, flags
_NAMED = 91  # bytes by which PyFlink's pickle names what a model's state is, around the bytes of it
_KEY_BYTES = 12
_HOUR_MS = 3_600_000


class Load(NamedTuple):
    """What a job is going to meet.

    Attributes
    ----------
    keys : int
        Keys with a model, of each model that has a key.
    active : float
        Share of them that learns between two checkpoints, above 0 up to 1.
    rate : float or None
        Events per second; None: not known.
    parallelism : int
        Of the job.
    """

    keys: int
    active: float
    rate: float | None
    parallelism: int


@dataclass(frozen=True)
class ModelLoad:
    """What one model comes to.

    Attributes
    ----------
    keys, active_keys : int
        Models in state, and those of them that learn between two checkpoints.
    state_bytes : int
        One key in state and so in a checkpoint, with what names it.
    checkpoint_bytes, changed_bytes : int
        All of them, as a full checkpoint has them; those that change between two checkpoints, as an incremental one of
        RocksDB has them.
    cached_keys, cached_bytes : int
        Models that one Python worker holds at most, and the bytes that they take there.
    snapshot_bytes_per_s : float or None
        Published on average, where every active key has something new each time; None where it goes by events and no
        rate is known.
    label_bytes : int or None
        About what Java holds of events whose label may still come; 0 without a label table, None without a rate.
    """

    keys: int
    active_keys: int
    state_bytes: int
    checkpoint_bytes: int
    changed_bytes: int
    cached_keys: int
    cached_bytes: int
    snapshot_bytes_per_s: float | None
    label_bytes: int | None


def duration_ms(settings: Mapping[str, str], option: str, default: int) -> int:
    """Return a duration among Flink's settings in ms; ``default`` where it is not there, 0 where it is 0 or is none.

    Examples
    --------
    >>> duration_ms({"a": "2 s", "b": "0"}, "a", 5), duration_ms({"b": "0 s"}, "b", 5), duration_ms({}, "a", 5)
    (2000, 0, 5)
    """
    if option not in settings:
        return default
    try:
        return parse_duration_ms(settings[option])
    except ValueError:
        return 0


def model_load(declaration: Declaration, cost: ModelCost, load: Load, settings: Mapping[str, str]) -> ModelLoad:
    """Multiply what one key costs.

    Parameters
    ----------
    declaration, cost :
        The model and what one key of it costs.
    load : Load
        What the job meets.
    settings : mapping of str to str
        Flink's, those of the profile included.
    """
    d = declaration
    keys = (load.keys if d.key else 1) if d.learns else 0
    hot = active = min(keys, max(1, round(keys * load.active)))
    entry = cost.last.state + _NAMED + _ENTRY + (_KEY_BYTES if d.key else 0)
    if d.state_ttl is not None:
        entry += _ENTRY + _KEY_BYTES + 8  # when it last learned
    if load.rate is not None:
        interval_ms = duration_ms(settings, "execution.checkpointing.interval", 0) or 1000
        active = min(active, max(1, round(load.rate * interval_ms / 1000)))
    workers = min(load.parallelism, d.shards if d.key else 1)
    shards = -(-(d.shards if d.key else 1) // workers)
    caches = ("python.map-state.read-cache-size", "python.map-state.write-cache-size")
    cached = min(-(-hot // workers), shards * max(int(settings.get(name, 1000)) for name in caches))
    events, time_ms, _ = d.snapshot_every
    snapshots: float | None = 0.0
    if time_ms is not None:
        snapshots = active * cost.last.model * 1000 / time_ms
    elif events is not None:
        snapshots = None if load.rate is None else load.rate / events * cost.last.model
    labels: int | None = 0
    if d.label_table is not None:
        # As in flow.py. Features wait for labels at the learning operator, and answers at the evaluating one.
        held_s = ((2 if d.label_default is None else 3) * d.label_timeout + _HOUR_MS) / 1000
        labels = None if load.rate is None else round(2 * load.rate * held_s * cost.row)
    live = cost.last.live + _CACHED
    return ModelLoad(
        keys, active, entry, keys * entry, active * entry, cached, cached * live, snapshots if d.learns else 0.0, labels
    )  # fmt: skip


def python_bytes(stages: int, parallelism: int, loads: Mapping[str, ModelLoad]) -> tuple[int, int]:
    """Return how many Python workers run, one per slot whatever the stages in it, and the memory of all in bytes."""
    workers = parallelism if stages else 0
    return workers, workers * (WORKER_BYTES + sum(load.cached_bytes for load in loads.values()))


def waits_ms(stages: int, settings: Mapping[str, str]) -> int:
    """Return how long a row may wait in bundles and buffers before it is out, ms: when few come, each of them full."""
    bundle_ms = duration_ms(settings, "python.fn-execution.bundle.time", 1000)
    buffer_ms = duration_ms(settings, "execution.buffer-timeout.interval", 100)
    return stages * (bundle_ms + buffer_ms)
