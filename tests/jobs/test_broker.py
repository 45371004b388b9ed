from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from thalweg.connector.errors import SetupError
from thalweg.jobs import broker as module
from thalweg.jobs.broker import Broker, answers

pytestmark = pytest.mark.cluster


def create_topic(bootstrap: str, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        admin.close()


def read_all(bootstrap: str, topic: str, count: int, **options: object) -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **options
    )
    try:
        values = []
        for record in consumer:
            values.append(record.value)
            if len(values) == count:
                break
        return values
    finally:
        consumer.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def java_of(folder: Path) -> list[int]:
    wanted = str(folder / "server.properties")
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in processes if wanted in module._command_line(pid) and name_of(pid) == "java"]


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def wait_until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_old_events_stay_and_groups_work(broker: str, topic_name: str) -> None:
    create_topic(broker, topic_name)
    producer = KafkaProducer(bootstrap_servers=broker)
    year_2013, year_2100 = 1_357_000_000_000, 4_102_444_800_000
    for stamp in (year_2013, year_2100):
        producer.send(topic_name, value=str(stamp).encode(), timestamp_ms=stamp).get(timeout=20)
    producer.close()
    assert read_all(broker, topic_name, 2, group_id=topic_name) == [b"1357000000000", b"4102444800000"]


def test_transactions_work(broker: str, topic_name: str) -> None:
    create_topic(broker, topic_name)
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=topic_name)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic_name, value=b"taken back")
    producer.abort_transaction()
    producer.begin_transaction()
    producer.send(topic_name, value=b"kept")
    producer.commit_transaction()
    producer.close()
    assert read_all(broker, topic_name, 1, isolation_level="read_committed") == [b"kept"]


def test_no_topic_comes_from_a_misspelt_name(broker: str, topic_name: str) -> None:
    producer = KafkaProducer(bootstrap_servers=broker, max_block_ms=1500)
    with pytest.raises(Exception):  # noqa: B017, PT011 - which error is the client's affair
        producer.send(topic_name, value=b"x").get(timeout=5)
    producer.close()
    admin = KafkaAdminClient(bootstrap_servers=broker)
    assert topic_name not in admin.list_topics()
    admin.close()


def test_listens_on_this_machine_only(broker: str) -> None:
    host, _, port = broker.partition(":")
    assert host == "127.0.0.1"
    listening = {
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{int(port):04X}")
    }
    # Java binds IPv4 addresses through IPv6 sockets.
    assert listening
    assert all(address.rpartition(":")[0].endswith("0100007F") for address in listening)


def test_stops_starts_again_with_its_data_and_says_what_is_in_the_way(tmp_path: Path) -> None:
    with Broker.start(tmp_path) as first:
        create_topic(first.bootstrap, "kept")
        producer = KafkaProducer(bootstrap_servers=first.bootstrap)
        producer.send("kept", value=b"here").get(timeout=20)
        producer.close()
        port = int(first.bootstrap.rpartition(":")[2])
        with pytest.raises(SetupError, match=f"Port {port} of 127.0.0.1 is taken"):
            Broker.start(tmp_path / "other", port)
        assert first.log.stat().st_size > 0
    assert not answers(first.bootstrap)
    assert java_of(tmp_path) == []
    first.stop()

    daemon = Broker.start(tmp_path, port, detached=True)
    try:
        assert daemon.bootstrap == first.bootstrap
        assert read_all(daemon.bootstrap, "kept", 1) == [b"here"]
        found = Broker.find(tmp_path)
        assert found is not None
        assert (found.pid, found.bootstrap) == (daemon.pid, daemon.bootstrap)
        with pytest.raises(SetupError, match="already runs"):
            Broker.start(tmp_path)
        found.stop()
        assert java_of(tmp_path) == []
        assert Broker.find(tmp_path) is None
    finally:
        daemon.stop()


def test_a_broker_that_dies_tells_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._SETTINGS, "log.cleaner.threads", "none")
    monkeypatch.setattr(module, "_format", lambda folder, java, options: None)
    with pytest.raises(SetupError, match=r"(?s)died while starting.*log\.cleaner\.threads"):
        Broker.start(tmp_path)


def test_data_that_cannot_be_prepared_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._SETTINGS, "log.cleaner.threads", "none")
    with pytest.raises(SetupError, match=r"(?s)could not prepare .*log\.cleaner\.threads"):
        Broker.start(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import sys, time\n"
        "from thalweg.jobs.broker import Broker\n"
        "broker = Broker.start(sys.argv[1])\n"
        "print(broker.bootstrap, flush=True)\n"
        "time.sleep(120)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert answers(parent.stdout.readline().strip())
        pids = java_of(tmp_path)
        assert len(pids) == 1
        parent.send_signal(number)
        parent.wait(20)
        gone = wait_until(lambda: not alive(pids[0]))
        if not gone:
            os.kill(pids[0], signal.SIGKILL)
        assert gone


def test_a_stale_pid_file_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "broker.json").write_text(f'{{"bootstrap": "127.0.0.1:1", "pid": {os.getpid()}}}')
    assert Broker.find(tmp_path) is None
    (tmp_path / "broker.json").write_text("nonsense")
    assert Broker.find(tmp_path) is None


def test_a_port_that_is_not_kafka_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not answers(f"127.0.0.1:{server.getsockname()[1]}", seconds=0.2)
    assert not answers("nonsense")
