"""The REST endpoint of a Flink, played by a server that answers as the real one did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, SetupError, ThalwegError
from thalweg.jobs import flink_rest
from thalweg.jobs.cli import main
from thalweg.jobs.cli_jobs import newest_checkpoint
from thalweg.jobs.flink_rest import FlinkRest, rest_endpoint
from thalweg.jobs.root_cause import root_cause

RUNS, OLD, OTHER = (
    "0dec377f7eadbdcca175898507f3dce2",
    "0fff377f7eadbdcca175898507f3dce2",
    "aaaa377f7eadbdcca1758985",
)
SOURCE = "Source__KafkaSource-events"
TRACE = (
    "org.apache.flink.runtime.JobException: Recovery\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: disk full\n"
)


class FakeFlink:
    """Answers of a path, in turn; the last one stays."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                path = self.path.lstrip("/")
                fake.asked.append((self.command, path, body))
                turns = fake.answers.get(path, [(404, {"errors": ["Not found: " + path]})])
                status, value = turns.pop(0) if len(turns) > 1 else turns[0]
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, path: str, *values: Any, status: int = 200) -> None:
        self.answers[path] = [(status, value) for value in values]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFlink]:
    monkeypatch.setattr(flink_rest, "_POLL_S", 0.0)
    made = FakeFlink()
    jobs = [(OLD, "fraud", "FINISHED", 1), (RUNS, "fraud", "RUNNING", 3), (OTHER, "delay", "RESTARTING", 2)]
    made.says(
        "jobs/overview",
        {"jobs": [{"jid": jid, "name": name, "state": state, "start-time": at} for jid, name, state, at in jobs]},
    )
    yield made
    made.server.shutdown()
    made.server.server_close()


def a_job(fake: FakeFlink, job: str = RUNS, state: str = "RUNNING") -> None:
    """What Flink 2.3 says of a job with a source and a task that is held back for 700 ms of each second."""
    vertices = [{"id": "v1", "name": "Source: events"}, {"id": "v2", "name": "fraud: score and learn"}]
    fake.says(
        f"jobs/{job}",
        {"state": state, "now": 100_000, "timestamps": {"RUNNING": 36_300}, "vertices": vertices, "name": "fraud"},
    )
    fake.says(f"jobs/{job}/metrics?get=numRestarts", [{"id": "numRestarts", "value": "2"}])
    newest = {
        "state_size": 2_500_000, "end_to_end_duration": 45, "trigger_timestamp": 98_000,
        "external_path": "file:/checkpoints/chk-12",
    }  # fmt: skip
    fake.says(f"jobs/{job}/checkpoints", {"counts": {"completed": 12, "failed": 1}, "latest": {"completed": newest}})
    fake.says(f"jobs/{job}/exceptions?maxExceptions=1", {"exceptionHistory": {"entries": [{"stacktrace": TRACE}]}})
    rate, waits, pressed = (
        f"{SOURCE}.numRecordsOutPerSecond",
        f"{SOURCE}.pendingRecords",
        "backPressuredTimeMsPerSecond",
    )
    seen = [rate, f"0.{rate}", waits, pressed, "numRecordsOutPerSecond", "PythonCalc[2].numRecordsOutPerSecond"]
    figures = {rate: (1, 1200.04), waits: (40, 55), pressed: (100, 150)}
    of_v1 = f"jobs/{job}/vertices/v1/subtasks/metrics"
    fake.says(of_v1, [{"id": name} for name in seen])
    fake.says(
        f"{of_v1}?get={SOURCE}.numRecordsOutPerSecond,{SOURCE}.pendingRecords,{pressed}",
        [{"id": name, "max": top, "sum": whole} for name, (top, whole) in figures.items()],
    )
    fake.says(f"jobs/{job}/vertices/v2/subtasks/metrics", [{"id": pressed}])
    fake.says(f"jobs/{job}/vertices/v2/subtasks/metrics?get={pressed}", [{"id": pressed, "max": 700, "sum": 900}])


def command(fake: FakeFlink, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--target", fake.target])


def test_status_tells_each_jobs_figures(fake: FakeFlink) -> None:
    a_job(fake)
    a_job(fake, OTHER, "RESTARTING")
    told = json.loads(command(fake, "status", "--json").stdout)
    assert [status["id"] for status in told] == [RUNS, OTHER]
    assert told[0] == {
        "id": RUNS, "name": "fraud", "state": "RUNNING", "up_s": 63.7, "restarts": 2, "checkpoints": 12,
        "failed_checkpoints": 1, "checkpoint_bytes": 2_500_000, "checkpoint_ms": 45, "checkpoint_age_s": 2.0,
        "checkpoint_path": "file:/checkpoints/chk-12", "backpressure": 0.7, "pressed_task": "fraud: score and learn",
        "records_per_s": 1200.0, "lag": 55, "failure": "disk full",
    }  # fmt: skip
    assert told[1]["up_s"] == told[1]["records_per_s"] == 0
    shown = command(fake, "status")
    assert shown.exit_code == 0
    for part in ("1 min 3 s", "12, 1 failed", "2.50 MB, 45 ms, 2 s ago", "1,200", "70%", "failed last: disk full"):
        assert part in shown.stdout


def test_the_exit_code_of_status_is_that_of_the_job(fake: FakeFlink) -> None:
    a_job(fake)
    a_job(fake, OTHER, "RESTARTING")
    assert command(fake, "status", "fraud").exit_code == 0
    assert command(fake, "status", "delay").exit_code == 1
    fake.says("jobs/overview", {"jobs": []})
    assert command(fake, "status").stdout == f"No job runs at {fake.target}.\n"
    assert json.loads(command(fake, "status", "--json").stdout) == []


def test_a_job_without_a_checkpoint_or_a_restart_has_neither(fake: FakeFlink) -> None:
    a_job(fake, OLD, "FINISHED")
    fake.says(f"jobs/{OLD}/checkpoints", {})
    fake.says(f"jobs/{OLD}/metrics?get=numRestarts", [])
    fake.says(f"jobs/{OLD}/exceptions?maxExceptions=1", {"exceptionHistory": {"entries": []}})
    (told,) = json.loads(command(fake, "status", OLD, "--json").stdout)
    assert [told[name] for name in ("checkpoints", "checkpoint_bytes", "restarts", "lag", "failure")] == [
        0, None, 0, None, "",
    ]  # fmt: skip
    assert "nan" not in command(fake, "status", OLD).stdout.lower()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(RUNS, RUNS), ("0dec", RUNS), ("0DEC", RUNS), ("fraud", RUNS), ("delay", OTHER), (OLD, OLD), ("0", RUNS)],
)
def test_a_job_is_found_by_id_by_its_beginning_and_by_name(fake: FakeFlink, wanted: str, found: str) -> None:
    assert FlinkRest(fake.target).find(wanted).id == found


def test_a_job_that_is_none_and_a_name_of_two_are_told(fake: FakeFlink) -> None:
    flink = FlinkRest(fake.target)
    with pytest.raises(ConfigError, match=f"there is no such job at {fake.target}.*{RUNS} .fraud.*Give the id"):
        flink.find("frued")
    twice = [{"jid": f"{n}" * 32, "name": "x", "state": "RUNNING", "start-time": n} for n in (1, 2)]
    fake.says("jobs/overview", {"jobs": twice})
    with pytest.raises(ConfigError, match=r"2 jobs .* are meant"):
        flink.find("x")


def savepoint_of(fake: FakeFlink, *turns: Any) -> None:
    fake.says(f"jobs/{RUNS}/stop", {"request-id": "r"}, status=202)
    fake.says(f"jobs/{RUNS}/savepoints/r", *turns)
    fake.says(
        f"jobs/{RUNS}/checkpoints",
        {"history": [
            {"is_savepoint": True, "status": "IN_PROGRESS", "num_acknowledged_subtasks": 4, "num_subtasks": 6}
        ]},
    )  # fmt: skip


def test_stop_waits_for_the_savepoint_and_for_the_end(fake: FakeFlink, tmp_path: Path) -> None:
    done = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/savepoints/s-1"}}
    savepoint_of(fake, {"status": {"id": "IN_PROGRESS"}}, {"status": {"id": "IN_PROGRESS"}}, done)
    fake.says(f"jobs/{RUNS}", {"state": "RUNNING"}, {"state": "FINISHED"})
    told = command(fake, "stop", "fraud", "--savepoint", str(tmp_path), "--json")
    assert told.exit_code == 0, told.output
    assert "4 of 6 tasks" in told.stderr
    found = json.loads(told.stdout)
    assert (found["job"], found["state"], found["savepoint"]) == (RUNS, "FINISHED", "file:/savepoints/s-1")
    assert ("POST", f"jobs/{RUNS}/stop", {"targetDirectory": tmp_path.as_uri(), "drain": False}) in fake.asked


def test_a_savepoint_that_cannot_be_written_leaves_the_job_running(fake: FakeFlink) -> None:
    trace = (
        "x.CompletionException: y\nCaused by: java.io.IOException: Failed to create savepoint directory at file:/p\n"
    )
    savepoint_of(fake, {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": trace}}})
    told = command(fake, "stop", RUNS, "--savepoint", "hdfs://p")
    assert told.exit_code == 1
    assert "no savepoint in hdfs://p: Failed to create savepoint directory at file:/p. The job goes on." in told.stderr
    assert "Traceback" not in told.output


def test_stop_has_an_end(fake: FakeFlink) -> None:
    savepoint_of(fake, {"status": {"id": "IN_PROGRESS"}})
    with pytest.raises(ThalwegError, match=r"is not complete within the time given; it goes on\. See 'thalweg status"):
        FlinkRest(fake.target).stop(RUNS, None, lambda line: None, 0.0)


def test_cancel(fake: FakeFlink) -> None:
    fake.says(f"jobs/{RUNS}", b"", {"state": "CANCELLING"}, {"state": "CANCELED"})
    told = command(fake, "stop", RUNS, "--cancel", "--json")
    assert json.loads(told.stdout) == {"job": RUNS, "state": "CANCELED", "savepoint": None, "seconds": 0.0}
    assert fake.asked[1][:2] == ("PATCH", f"jobs/{RUNS}")
    assert command(fake, "stop", RUNS, "--cancel", "--savepoint", "/x").exit_code == 2


def test_a_job_that_has_ended_is_not_stopped(fake: FakeFlink) -> None:
    told = command(fake, "stop", OLD)
    assert told.exit_code == 2
    assert "has ended already: FINISHED" in told.stderr


def test_what_flink_refuses_and_what_is_no_flink(fake: FakeFlink) -> None:
    flink = FlinkRest(fake.target)
    with pytest.raises(ThalwegError, match=f"^{fake.target}: Not found: jobs/x$"):
        flink.state("x")
    fake.says("jobs/y", {"errors": ["Internal server error.", f"<Exception on server side:\n{TRACE}"]}, status=500)
    with pytest.raises(ThalwegError, match=f"^{fake.target}: disk full$"):
        flink.state("y")
    fake.says("jobs/z", b"<html>", status=503)
    with pytest.raises(ThalwegError, match="HTTP 503"):
        flink.state("z")
    for answer in (b"<html>hello</html>", {"hello": "world"}):
        fake.says("jobs/overview", answer)
        with pytest.raises(SetupError, match=f"What answers at {fake.target} is not Flink"):
            flink.jobs()


def test_nobody_answers() -> None:
    told = CliRunner().invoke(main, ["status", "--target", "127.0.0.1:1"])
    assert told.exit_code == 3
    assert told.stderr == (
        "No Flink answers at 127.0.0.1:1 ([Errno 111] Connection refused). Start the cluster, or name its REST endpoint"
        " with --target host:port.\n"
    )
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # it takes connections and never answers
    with pytest.raises(SetupError, match="timed out"):
        FlinkRest(f"127.0.0.1:{silent.server_port}", 0.2).jobs()
    silent.server_close()


@pytest.mark.parametrize("target", ["", "8081", ":8081", "host:", "host:port", "http://host"])
def test_an_endpoint_that_is_none(target: str) -> None:
    with pytest.raises(ConfigError, match="is not host:port"):
        rest_endpoint(target)


def test_the_newest_complete_checkpoint_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "a job"
    for number, complete in ((2, True), (9, True), (10, True), (11, False)):
        (folder / f"chk-{number}").mkdir(parents=True)
        if complete:
            (folder / f"chk-{number}" / "_metadata").touch()
    (folder / "shared").mkdir()
    newest = (folder / "chk-10").as_uri()
    for path in (str(folder), folder.as_uri(), str(folder / "chk-10"), newest):
        assert newest_checkpoint(path) == newest
    with pytest.raises(ConfigError, match="holds no complete savepoint or checkpoint"):
        newest_checkpoint(str(folder / "chk-11"))


@pytest.mark.parametrize("path", ["s3://bucket/savepoint-1", "file:/of/another/machine", "hdfs:///a b"])
def test_what_this_machine_cannot_see_is_left_to_the_cluster(path: str) -> None:
    assert newest_checkpoint(path) == path
    assert newest_checkpoint("/of/another/machine") == "file:///of/another/machine"


def test_a_file_that_sets_its_own_savepoint_is_not_resumed_from_another(tmp_path: Path) -> None:
    file = tmp_path / "job.sql"
    file.write_text("SET 'execution.state-recovery.path' = 'file:///a';\nINSERT INTO t SELECT 1;\n")
    told = CliRunner().invoke(main, ["resume", str(file), "--savepoint", "/b"])
    assert told.exit_code == 2
    assert "--savepoint: the file itself sets 'execution.state-recovery.path'. Remove it there" in told.stderr


@given(st.text())
def test_a_cause_is_found_in_any_text(text: str) -> None:
    assert "\n" not in root_cause(f"a.b.CError: x\n\tat y\nCaused by: {text.splitlines()[0] if text.strip() else 'z'}")
