from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from thalweg.connector.errors import SetupError
from thalweg.jobs import doctor
from thalweg.jobs.cli import main
from thalweg.jobs.doctor import Check, Plan, examine


def one(name: str, plan: Plan = Plan()) -> Check:  # noqa: B008 - frozen
    return next(check for check in examine(plan) if check.name == name)


def test_this_environment_is_consistent() -> None:
    checks = {check.name: check for check in examine(Plan())}
    assert {checks[name].state for name in ("python", "packages", "river")} == {"ok"}
    assert all(bool(check.remedy) == (check.state != "ok") or check.name == "maven" for check in checks.values())


def test_a_package_of_the_wrong_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: {"numpy": "2.3.0", "river": ""}.get(name, real(name)))
    check = one("packages")
    assert check.state == "fail"
    assert "thalweg needs numpy<2.2,>=1.26, but 2.3.0 is installed" in check.found
    assert "apache-beam needs numpy<2.2.0,>=1.14.3, but 2.3.0 is installed" in check.found


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.distribution

    def without_river(name: str) -> object:
        if name == "river":
            raise doctor.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "distribution", without_river)
    assert "thalweg needs river, which is not installed" in one("packages").found


def test_an_incomplete_river_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.import_module

    def without_forest(name: str) -> object:
        if name == "river.forest":
            raise ModuleNotFoundError("No module named 'river.forest'")
        return real(name)

    monkeypatch.setattr(doctor, "import_module", without_forest)
    check = one("river")
    assert check.state == "fail"
    assert check.found.startswith("river.forest (")


def test_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "java_major", lambda command: 11)
    monkeypatch.setattr(doctor, "java_command", lambda: "/bin/java")
    assert one("java")[:3] == ("java", "fail", "11 (/bin/java)")

    def missing() -> str:
        raise SetupError("Java is missing: install it.")

    monkeypatch.setattr(doctor, "java_command", missing)
    assert one("java") == ("java", "fail", "Java is missing", "install it.")


def test_an_old_connector_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_jars", lambda profile: [])
    assert one("job jars").state == "warn"
    assert "flink-sql-connector-kafka-5.0.0-2.2.jar" in one("job jars").found

    def old(jars: list[Path]) -> None:
        raise SetupError("x.jar is Kafka connector 3.4.0-1.20, built for Flink 1: replace it.")

    monkeypatch.setattr(doctor, "find_jars", lambda profile: [tmp_path / "x.jar"])
    monkeypatch.setattr(doctor, "check_connector", old)
    check = one("job jars")
    assert (check.state, check.remedy) == ("fail", "replace it.")


@pytest.mark.parametrize(("zone", "seconds", "state"), [("UTC", 0, "ok"), ("JST", -32400, "warn")])
def test_time_zone(monkeypatch: pytest.MonkeyPatch, zone: str, seconds: int, state: str) -> None:
    monkeypatch.setattr(doctor.time, "timezone", seconds)
    monkeypatch.setattr(doctor.time, "daylight", 0)
    monkeypatch.setenv("TZ", zone)
    assert one("time zone")[1:3] == (state, zone)


def test_memory_grows_with_slots_and_models() -> None:
    assert one("memory", Plan(slots=1, keys=10, model_bytes=1000)).state == "ok"
    check = one("memory", Plan(slots=64, keys=100_000, model_bytes=6_000_000))
    assert check.state == "warn"
    assert "36,647,974 MiB" in check.found


@pytest.fixture
def flink() -> Iterator[tuple[str, dict[str, object]]]:
    """A cluster's REST interface, as far as the doctor asks it."""
    overview: dict[str, object] = {"flink-version": "2.3.0", "slots-total": 2, "slots-available": 1}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(overview).encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", overview
        server.shutdown()
        thread.join()


def test_cluster(flink: tuple[str, dict[str, object]]) -> None:
    target, overview = flink
    assert one("cluster", Plan(target=target))[1:3] == ("ok", f"Flink 2.3.0 at {target}, 2 slot(s), 1 free")
    overview["slots-total"] = 0
    assert "TaskManager" in one("cluster", Plan(target=target)).remedy
    overview["flink-version"] = "1.20.1"
    assert "Use a cluster of Flink 2.3" in one("cluster", Plan(target=target)).remedy
    overview.clear()
    assert one("cluster", Plan(target=target)).state == "fail"
    assert one("cluster", Plan(target="nonsense")).state == "fail"


def test_command_tells_all_and_fails_if_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "java_major", lambda command: 21)
    monkeypatch.setattr(doctor, "java_command", lambda: "/bin/java")
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    assert {check["state"] for check in json.loads(result.stdout)} <= {"ok", "warn"}
    result = CliRunner().invoke(main, ["doctor", "--brokers", "127.0.0.1:1,127.0.0.1:2"])
    assert result.exit_code == 1
    assert result.stdout.count("fail") == 2


@pytest.mark.cluster
def test_broker(broker: str) -> None:
    assert one("broker", Plan(brokers=broker)) == ("broker", "ok", broker, "")
