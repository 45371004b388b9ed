"""Makes the Flink environment of a job: profiles, jars, where it runs."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.find_flink_home import _find_flink_home
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, StreamTableEnvironment
from thalweg.jobs.bundle import bundle
from thalweg.jobs.flink_rest import rest_endpoint
from thalweg.jobs.jars import job_jars
from thalweg.jobs.own_files import with_own_files

__all__ = ["PROFILES", "make_environment", "started_by_flink"]

_COMMON = {
    # Flink copies rows between chained operators unless told that nobody keeps them; ours do not.
    "pipeline.object-reuse": "true",
    # An idle partition must not freeze event time for the whole job.
    "table.exec.source.idle-timeout": "30 s",
    # A checkpoint of state in memory is a full one, so it must not follow the last one at once.
    "execution.checkpointing.interval": "10 s",
    "execution.checkpointing.min-pause": "10 s",
    # One dump per model and bundle while the models in use fit these; counted in shards, and in models per shard.
    "python.state.cache-size": "1000",
    "python.map-state.read-cache-size": "20000",
    "python.map-state.write-cache-size": "20000",
}
_TELLS_ENVIRONMENT = "org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory"
PROFILES: dict[str, dict[str, str]] = {
    "latency": {
        **_COMMON,
        "python.fn-execution.bundle.time": "10",
        "python.fn-execution.bundle.size": "1000",
        "python.fn-execution.arrow.batch.size": "1000",
        "execution.buffer-timeout.interval": "5 ms",
    },
    "throughput": {
        **_COMMON,
        "python.fn-execution.bundle.time": "1000",
        "python.fn-execution.bundle.size": "100000",
        "python.fn-execution.arrow.batch.size": "10000",
        "execution.buffer-timeout.interval": "100 ms",
        "execution.checkpointing.interval": "1 min",
        "execution.checkpointing.min-pause": "1 min",
    },
}
"""What each profile sets; a ``SET`` in the SQL file goes before it."""


def make_environment(
    profile: str, settings: Mapping[str, str], target: str | None, parallelism: int | None = None
) -> StreamTableEnvironment:
    """Return a table environment.

    Parameters
    ----------
    profile : str
        ``latency`` or ``throughput``.
    settings : mapping of str to str
        Flink options; they go before the profile's.
    target : str or None
        ``host:port`` of a cluster's REST endpoint; None runs a mini cluster in this process, or leaves it to the
        ``flink run`` that has started this program.
    parallelism : int or None
        Default parallelism.

    Raises
    ------
    ConfigError
        The target is not ``host:port``, or jars or Python files that the settings name are not there.
    SetupError
        The jars are missing.
    """
    by_flink = target is None and started_by_flink()
    local = target is None and not by_flink
    if local:
        # Read when the JVM starts, with the first use of Flink. On few cores a concurrent collector is in the way.
        os.environ.setdefault("JVM_ARGS", "-XX:+UseParallelGC")
    # Otherwise Python functions run in this very process: beside each other, and for a cluster out of its reach.
    os.environ.setdefault("_python_worker_execution_mode", "process")
    options = dict(PROFILES[profile])
    options["pipeline.jars"] = ";".join(path.resolve().as_uri() for path in job_jars())
    if parallelism is not None:
        options["parallelism.default"] = str(parallelism)
    if local:
        options["rest.bind-port"] = "0"
        # A checkpoint in the JobManager's memory may hold 5 MB per task, which the joins outgrow within seconds.
        options["execution.checkpointing.dir"] = _temporary_directory().as_uri()
        # A mini cluster is somebody trying something: after three failures the reason is worth more than a fourth try.
        options |= {
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "3",
            "restart-strategy.fixed-delay.delay": "1 s",
        }
        options["python.executable"] = options["python.client.executable"] = sys.executable
    else:
        # What a job that has failed for good, or lost its JobManager, is resumed from.
        options["execution.checkpointing.externalized-checkpoint-retention"] = "DELETE_ON_CANCELLATION"
    if by_flink:
        # Its command line says where the job goes and what it takes along; only the jars are more than it knows of.
        options["pipeline.jars"] = ";".join([*_jars_of_flink_run(), options["pipeline.jars"]])
    if target is not None:
        host, port = rest_endpoint(target)
        options |= {"execution.target": "remote", "rest.address": host, "rest.port": port}
        # Here the gateway has it; the classpath of a cluster does not, `flink run -py` brings it along too.
        # Not where this distribution has it in lib, as in docker/: then its cluster has it too.
        home = Path(_find_flink_home())
        if not list((home / "lib").glob("flink-python-*.jar")):
            options["pipeline.jars"] += "".join(f";{jar.as_uri()}" for jar in (home / "opt").glob("flink-python-*.jar"))
        shipped = _temporary_directory() / "thalweg.zip"
        shipped.write_bytes(bundle())
        options["python.files"] = str(shipped)
        options["python.client.executable"] = sys.executable
    configuration = Configuration()
    for key, value in with_own_files(options, settings).items():
        configuration.set_string(key, value)
    if local:
        _keep_environment_out_of_logs()
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    return StreamTableEnvironment.create(
        environment, EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    )


def started_by_flink() -> bool:
    """Return whether this program was started by ``flink run``, whose command line says where the job goes."""
    return "PYFLINK_GATEWAY_PORT" in os.environ


def _jars_of_flink_run() -> list[str]:
    """Return the URLs of the jars that ``flink run`` takes along: Python's own, and those of ``-j``."""
    known = StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment()).get_config()
    return list(Configuration.parse_list_value(known.get("pipeline.jars", "[]")))


def _keep_environment_out_of_logs() -> None:
    """Silence the one logger that writes how a Python worker is started, with all its variables and their secrets.

    It is Beam's, inside Flink. On a cluster its log4j.properties has to do it.
    """
    log4j = get_gateway().jvm.org.apache.logging.log4j
    log4j.core.config.Configurator.setLevel(_TELLS_ENVIRONMENT, log4j.Level.OFF)


def _temporary_directory() -> Path:
    """Return a new directory that is gone when this process ends."""
    directory = Path(tempfile.mkdtemp(prefix="thalweg-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
