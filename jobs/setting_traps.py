"""Known traps in the settings and sinks of a SQL file: how Flink, Kafka and Python run what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from thalweg.jobs.job_cost import duration_ms
from thalweg.jobs.plan_traps import Trap
from thalweg.jobs.script import Statement
from thalweg.udfs.engines.durations import parse_duration_ms

__all__ = ["BROKER_TRANSACTION_MS", "setting_traps"]

BROKER_TRANSACTION_MS = 900_000
"""How long a transaction may stay open with a broker's default settings, ms (``transaction.max.timeout.ms``)."""

_NAMED = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY\s+)?(?:TABLE|MODEL)\s+(?:IF\s+NOT\s+EXISTS\s+)?`?([\w.]+)`?",
    re.IGNORECASE,
)
_INSERTED = re.compile(r"INSERT\s+(?:INTO|OVERWRITE)\s+`?([\w.]+)`?", re.IGNORECASE)
_ALLOCATOR = "containerized.taskmanager.env.PYTHONMALLOC"


def setting_traps(statements: Sequence[Statement], settings: Mapping[str, str]) -> list[Trap]:
    """Return the traps of a script's settings, tables and options that no figure is needed for.

    Parameters
    ----------
    statements : sequence of Statement
        The script.
    settings : mapping of str to str
        Flink's, those of the profile included.

    Examples
    --------
    >>> [trap.where for trap in setting_traps([], {"python.execution-mode": "thread"})]
    ["setting 'python.execution-mode'"]
    """
    found = list(_of_settings(settings))
    options = {
        name[1]: (statement.kind, statement.options)
        for statement in statements
        if statement.kind in ("CREATE TABLE", "CREATE MODEL") and (name := _NAMED.match(statement.text))
    }
    written = {name[1] for s in statements if s.kind == "INSERT" and (name := _INSERTED.match(s.text))}
    for named, (kind, given) in options.items():
        if kind == "CREATE MODEL":
            found += _of_model(named, given, settings)
        elif named in written:
            found += _of_sink(named, given, settings)
    return found


def _of_settings(settings: Mapping[str, str]) -> Iterator[Trap]:
    if settings.get("python.execution-mode", "process") != "process":
        what = "models would be serialised on every access, and arrays of rows come out wrong: the run refuses it."
        yield Trap("setting 'python.execution-mode'", what, "Set it to 'process', Flink's default.", True)
    weights = settings.get("taskmanager.memory.managed.consumer-weights")
    if weights is not None and not re.search(r"\bPYTHON:[1-9]", weights):
        what = f"'{weights}' leaves Python none of the managed memory, and no Python worker starts."
        remedy = "Give it a weight, as in 'OPERATOR:70,STATE_BACKEND:70,PYTHON:30'."
        yield Trap("setting 'taskmanager.memory.managed.consumer-weights'", what, remedy, True)
    idle = "table.exec.source.idle-timeout"
    if idle in settings and not duration_ms(settings, idle, 0):
        what = "is 0: one partition without records holds the time of the whole job back; labels and timers wait."
        yield Trap(f"setting '{idle}'", what, "Give it a time, such as '30 s', the profile's.", True)
    if "execution.checkpointing.interval" in settings and not duration_ms(
        settings, "execution.checkpointing.interval", 0
    ):
        what = "is 0: without checkpoints a failure loses what was learned, and exactly-once sinks commit nothing."
        yield Trap("setting 'execution.checkpointing.interval'", what, "Give it a time, such as '10 s'.", True)
    for option in ("execution.state-recovery.ignore-unclaimed-state", "execution.savepoint.ignore-unclaimed-state"):
        if settings.get(option, "false").lower() == "true":
            what = (
                "lets a job start without the models of its savepoint where they fit no operator: it would begin anew."
            )
            yield Trap(f"setting '{option}'", what, "Leave it out; Flink then says what does not fit.", True)
    if settings.get("execution.checkpointing.storage", settings.get("state.checkpoint-storage", "")) == "jobmanager":
        what = "keeps checkpoints in the JobManager's memory: at most 5 MB per task, and gone with the JobManager."
        remedy = "Set 'execution.checkpointing.dir' to a directory that all machines reach, such as 's3://...'."
        yield Trap("setting 'execution.checkpointing.storage'", what, remedy, True)


def _of_model(model: str, given: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[Trap]:
    if given.get("provider", "") in ("onnx", "compare", ""):
        return
    where = f"model {model}, option 'state-ttl'"
    if "state-ttl" not in given:
        if duration_ms(settings, "table.exec.state.ttl", 0) and given.get("key"):
            what = "'table.exec.state.ttl' ends the state of queries, and that of models not."
            yield Trap(where, what, "Give the model a 'state-ttl' of its own.")
        return
    ttl_ms = _ms(given["state-ttl"], 0)
    timeout_ms = _ms(given.get("label-timeout"), 86_400_000)
    if "label-table" in given and ttl_ms < timeout_ms:
        what = "is shorter than 'label-timeout': a key is forgotten while its labels may still come, and begins anew."
        yield Trap(where, what, "Make it longer than 'label-timeout'.")
    every_ms = _ms(given.get("snapshot-every", "10 min"), 0)
    if given.get("revive") == "snapshot" and ttl_ms <= every_ms:
        what = "is not longer than 'snapshot-every': a key is forgotten before it was published, and cannot be revived."
        yield Trap(where, what, "Make it several times as long.", True)
    if settings.get(_ALLOCATOR, "") != "malloc":
        what = "forgets keys, and Python's own allocator keeps the memory that their models held."
        remedy = (
            "Start the TaskManagers with PYTHONMALLOC=malloc and LD_PRELOAD=libjemalloc.so.2, as docker/ does; where"
            f" Flink starts them itself, '{_ALLOCATOR}' = 'malloc'."
        )
        yield Trap(where, what, remedy)


def _of_sink(table: str, given: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[Trap]:
    if given.get("sink.delivery-guarantee") != "exactly-once":
        return
    option = "properties.transaction.timeout.ms"
    where = f"table {table}, option '{option}'"
    text = given.get(option, "")
    limit = f"a broker with default settings refuses more than {BROKER_TRANSACTION_MS} ms (transaction.max.timeout.ms)"
    if not text.isdigit():
        remedy = f"Give '{option}' = '{BROKER_TRANSACTION_MS}'."
        yield Trap(where, f"is not given: Flink asks for an hour, and {limit}.", remedy, True)
        return
    timeout_ms = int(text)
    if timeout_ms > BROKER_TRANSACTION_MS:
        remedy = f"Give at most {BROKER_TRANSACTION_MS}, or raise the limit of every broker."
        yield Trap(where, f"is {timeout_ms}, and {limit}.", remedy, True)
    interval_ms = duration_ms(settings, "execution.checkpointing.interval", 0)
    pause_ms = duration_ms(settings, "execution.checkpointing.min-pause", 0)
    limit_ms = duration_ms(settings, "execution.checkpointing.timeout", 600_000)
    if timeout_ms <= interval_ms + pause_ms + limit_ms:
        what = (
            f"is {timeout_ms}: a checkpoint may take {limit_ms} ms and the next begin {max(interval_ms, pause_ms)} ms"
            " later, and a transaction that has timed out loses its records."
        )
        remedy = "Make it longer than interval, pause, 'execution.checkpointing.timeout' and a restart together."
        yield Trap(where, what, remedy, timeout_ms <= interval_ms + pause_ms)


def _ms(text: str | None, default: int) -> int:
    """Return a duration among the options; ``default`` where there is none, or it goes by events."""
    try:
        return default if text is None else parse_duration_ms(text.partition(",")[0].strip())
    except ValueError:
        return default
