"""Known traps that figures tell: models that outgrow caches, heaps, topics and goals of latency."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from thalweg.jobs.job_cost import Load, ModelLoad, duration_ms
from thalweg.jobs.model_cost import ModelCost
from thalweg.jobs.plan_traps import Trap
from thalweg.jobs.script import Statement
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["latency_traps", "memory_traps", "model_traps", "size_text"]

_MB = 1 << 20
_LARGE_MODEL = _MB
_JOBMANAGER = 5 * _MB  # what a task may put into a checkpoint in the JobManager's memory
_HEAP = 256 * _MB
_FULL_CHECKPOINT = 2048 * _MB
_PUBLISHED = 10 * _MB
_DELAYED = re.compile(r"\bWATERMARK\s+FOR\s+.+?-\s*INTERVAL\s+'(\d+)'\s+(SECOND|MINUTE|HOUR|DAY)", re.IGNORECASE)
_UNIT_MS = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


def model_traps(d: Declaration, cost: ModelCost, load: ModelLoad, job: Load, settings: Mapping[str, str]) -> list[Trap]:
    """Return the traps of one model.

    Parameters
    ----------
    d, cost, load :
        The model, what one key of it costs and what all of them come to.
    job, settings :
        What the job meets, and Flink's settings, those of the profile included.
    """
    return [*_of_size(d, cost, load), *_of_caches(d, job, settings), *_of_parallelism(d, job)]


def _of_size(d: Declaration, cost: ModelCost, load: ModelLoad) -> Iterator[Trap]:
    where, model = f"model {d.name}", cost.last.model
    if model > d.max_model_size:
        what = f"has {size_text(model)} after {cost.last.examples} examples, more than 'max-model-size'."
        yield Trap(where, what, "Bound it (depth, window, vocabulary), or raise 'max-model-size'.", True)
    elif cost.grows:
        before = cost.sizes[-2]
        what = (
            f"still grows: {size_text(before.model)} after {before.examples} examples, {size_text(model)} after"
            f" {cost.last.examples}."
        )
        yield Trap(where, what, "Bound it (depth, window, vocabulary), and look again with --examples of your keys.")
    if _LARGE_MODEL < model <= d.max_model_size:
        what = (
            f"has {size_text(model)}: each of its snapshots is several Kafka records, each write of its state as much."
        )
        yield Trap(where, what, "Bound it, publish it rarely ('snapshot-every'), or learn in updates ('cadence').")
    if cost.refused:
        what = f"has refused {cost.refused} of {cost.last.examples} sample rows."
        yield Trap(where, what, "Look at their columns; real rows are given with --example.")
    if load.snapshot_bytes_per_s is not None and load.snapshot_bytes_per_s > _PUBLISHED:
        what = f"publishes {size_text(load.snapshot_bytes_per_s)} of snapshots per second."
        yield Trap(f"{where}, option 'snapshot-every'", what, "Publish more rarely, or on drift alone.")
    if load.label_bytes is not None and load.label_bytes > 4 * _HEAP:
        what = f"holds about {size_text(load.label_bytes)} of events in Flink's state, for their labels to come."
        remedy = "Make it as short as your labels allow, or SET 'state.backend.type' = 'rocksdb'."
        yield Trap(f"{where}, option 'label-timeout'", what, remedy)


def _of_caches(d: Declaration, job: Load, settings: Mapping[str, str]) -> Iterator[Trap]:
    if not d.learns or not d.key:
        return
    where = f"model {d.name}"
    # The active keys of all, for the cache is for those that take turns within seconds or hours alike.
    hot = -(-max(1, round(job.keys * job.active)) // d.shards)
    for option in ("python.map-state.read-cache-size", "python.map-state.write-cache-size"):
        if hot > (size := int(settings.get(option, "1000"))):
            what = f"{hot} active keys per shard, and PyFlink keeps {size}: for the others it asks Java, a millisecond."
            yield Trap(f"setting '{option}', {where}", what, f"SET '{option}' = '{hot * 5 // 4}'.", True)
    shards = -(-d.shards // min(job.parallelism, d.shards))
    if shards > (size := int(settings.get("python.state.cache-size", "1000"))):
        what = f"a worker has {shards} shards, and PyFlink keeps the state of {size}."
        yield Trap(f"setting 'python.state.cache-size', {where}", what, f"Make it {2 * shards} or more.", True)


def _of_parallelism(d: Declaration, job: Load) -> Iterator[Trap]:
    if not d.learns or job.parallelism == 1:
        return
    if not d.key:
        what = f"has no key: one model learns in one place, whatever the parallelism of {job.parallelism}."
        yield Trap(f"model {d.name}, option 'key'", what, "Give a key, or count on the rate of one subtask.")
    elif d.shards < job.parallelism:
        what = f"is {d.shards}, so of {job.parallelism} subtasks {job.parallelism - d.shards} do nothing."
        remedy = f"Give 'shards' = '{4 * job.parallelism}'; it is fixed for the life of the job's state."
        yield Trap(f"model {d.name}, option 'shards'", what, remedy, True)


def memory_traps(
    loads: Sequence[ModelLoad], python: int, job: Load, settings: Mapping[str, str], local: bool = False
) -> list[Trap]:
    """Return the traps of all models together.

    Parameters
    ----------
    loads : sequence of ModelLoad
        Of the models.
    python : int
        Memory of all Python workers, bytes.
    job, settings :
        As in ``model_traps``.
    local : bool
        Whether the mini cluster runs it, which keeps its checkpoints in files.
    """
    found = []
    total = sum(load.checkpoint_bytes + (load.label_bytes or 0) for load in loads)
    task = max((load.checkpoint_bytes // job.parallelism for load in loads), default=0)
    kept = ("execution.checkpointing.dir", "state.checkpoints.dir")
    if task > _JOBMANAGER and not local and not any(option in settings for option in kept):
        what = (
            f"a task puts {size_text(task)} into a checkpoint, and where no directory is set the JobManager takes 5 MB."
        )
        remedy = "Set 'execution.checkpointing.dir' here, or look whether the cluster's configuration does."
        found.append(Trap("setting 'execution.checkpointing.dir'", what, remedy))
    backend = settings.get("state.backend.type", settings.get("state.backend", "hashmap"))
    if total > _HEAP and backend != "rocksdb":
        what = f"'{backend}' holds {size_text(total)} of state on the heap, and each checkpoint writes all of it."
        remedy = "SET 'state.backend.type' = 'rocksdb' and 'execution.checkpointing.incremental' = 'true'."
        found.append(Trap("setting 'state.backend.type'", what, remedy, total > _FULL_CHECKPOINT))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if python > there / 2:
        what = f"Python workers may take {size_text(python)} beside the JVM; this machine has {size_text(there)}."
        remedy = "Lower --parallelism or the caches ('python.map-state.read-cache-size'), or take smaller models."
        found.append(Trap("memory of Python", what, remedy))
    return found


def latency_traps(
    statements: Sequence[Statement],
    declarations: Sequence[Declaration],
    goal_ms: int,
    stages: int,
    settings: Mapping[str, str],
) -> list[Trap]:
    """Return what keeps answers from being out within ``goal_ms``.

    Parameters
    ----------
    statements, declarations :
        The script and its models.
    goal_ms : int
        From an event to its answer.
    stages : int
        Python operators that an event passes one after the other.
    settings :
        As in ``model_traps``.
    """
    found = []
    option, buffers = "python.fn-execution.bundle.time", "execution.buffer-timeout.interval"
    bundle_ms, buffer_ms = duration_ms(settings, option, 1000), duration_ms(settings, buffers, 100)
    if stages * (bundle_ms + buffer_ms) > goal_ms:
        fits = max(1, goal_ms // (2 * max(1, stages)))
        what = (
            f"is {bundle_ms} ms, and with buffers of {buffer_ms} ms ('{buffers}') a row may wait"
            f" {stages * (bundle_ms + buffer_ms)} ms in {stages} Python stages; the goal is {goal_ms} ms."
        )
        remedy = f"SET '{option}' = '{min(bundle_ms, fits)}'; SET '{buffers}' = '{min(buffer_ms, fits)} ms'."
        found.append(Trap(f"setting '{option}'", what, remedy, bundle_ms > goal_ms))
    delays = [
        int(count) * _UNIT_MS[unit.upper()]
        for statement in statements
        if statement.kind == "CREATE TABLE"
        for count, unit in _DELAYED.findall(statement.text)
    ]
    waits = [d.name for d in declarations if d.learns and d.order != "arrival"]
    if waits and max(delays, default=0) > goal_ms:
        what = f"answers in the order of time: each waits {max(delays)} ms for the watermark; the goal is {goal_ms} ms."
        remedy = "Set 'order' = 'arrival', or a watermark that is not as far behind."
        found += [Trap(f"model {name}, option 'order'", what, remedy, True) for name in waits]
    if any("'exactly-once'" in statement.text for statement in statements):
        interval_ms = duration_ms(settings, "execution.checkpointing.interval", 0)
        if interval_ms > goal_ms:
            what = f"is {interval_ms} ms, and readers of exactly-once sinks wait for it; the goal is {goal_ms} ms."
            remedy = "Write what must be fast at least once, or make it shorter."
            found.append(Trap("setting 'execution.checkpointing.interval'", what, remedy, True))
    return found


def size_text(count: float) -> str:
    """Return bytes as people read them.

    Examples
    --------
    >>> size_text(216), size_text(2_100), size_text(3.5e9)
    ('216 bytes', '2.1 kB', '3.5 GB')
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
