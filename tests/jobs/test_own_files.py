"""Jars and Python files of a customer's beside Thalweg's (cases C03 to C06)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from thalweg.connector.errors import ConfigError, SetupError
from thalweg.jobs.own_files import with_own_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("jdbc.jar", "a b.jar", "flink-sql-avro-2.3.0.jar", "helpers.py"):
        (tmp_path / name).write_text("")
    for name, version in (("flink-sql-connector-kafka-5.0.0-2.2.jar", "5.0.0-2.2"),
                          ("flink-connector-kafka-4.1.0-2.1.jar", "4.1.0-2.1"),
                          ("flink-sql-connector-kafka-3.4.0-1.20.jar", "3.4.0-1.20")):  # fmt: skip
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("META-INF/MANIFEST.MF", f"Implementation-Version: {version}\n")
    return tmp_path


def ours(folder: Path) -> dict[str, str]:
    pinned = ("flink-sql-avro-2.3.0.jar", "flink-sql-connector-kafka-5.0.0-2.2.jar")
    return {"pipeline.jars": ";".join((folder / name).as_uri() for name in pinned), "python.files": "/t/thalweg.zip"}


def jars(folder: Path, own: str) -> list[str]:
    return with_own_files(ours(folder), {"pipeline.jars": own})["pipeline.jars"].split(";")


def test_own_jars_come_beside_ours_as_whole_urls(folder: Path) -> None:
    mine = ours(folder)["pipeline.jars"].split(";")
    wanted = [*mine, (folder / "jdbc.jar").as_uri(), (folder / "a b.jar").as_uri()]
    assert jars(folder, "jdbc.jar;a b.jar") == wanted
    assert jars(folder, f"{folder / 'jdbc.jar'}; {(folder / 'a b.jar').as_uri()} ;") == wanted
    assert jars(folder, mine[0]) == mine  # once
    assert jars(folder, "https://repo.example/x.jar") == [*mine, "https://repo.example/x.jar"]


def test_a_kafka_connector_of_ones_own_stands_in_for_the_pinned_one(folder: Path) -> None:
    own = "flink-connector-kafka-4.1.0-2.1.jar"
    assert jars(folder, own) == [(folder / "flink-sql-avro-2.3.0.jar").as_uri(), (folder / own).as_uri()]
    with pytest.raises(SetupError, match=r"is Kafka connector 3\.4\.0-1\.20, built for Flink 1"):
        jars(folder, "flink-sql-connector-kafka-3.4.0-1.20.jar")
    with pytest.raises(SetupError, match="Several jars"):
        jars(folder, f"{own};flink-sql-connector-kafka-3.4.0-1.20.jar")


def test_all_files_that_are_not_there_are_named_at_once(folder: Path) -> None:
    own = {"pipeline.jars": "jdbc.jar;gone.jar;file:///gone/too.jar", "python.files": "helpers.py,nowhere.zip"}
    with pytest.raises(ConfigError) as caught:
        with_own_files(ours(folder), own)
    assert len(caught.value.problems) == 3
    for part in ("gone.jar", "file:///gone/too.jar", "nowhere.zip", "pipeline.jars", "python.files", str(folder)):
        assert part in str(caught.value)


def test_own_python_files_do_not_push_thalweg_out(folder: Path) -> None:
    assert with_own_files(ours(folder), {"python.files": "helpers.py"})["python.files"] == "/t/thalweg.zip,helpers.py"
    assert with_own_files({}, {"python.files": "helpers.py, s3://b/x.zip"})["python.files"] == "helpers.py,s3://b/x.zip"


def test_every_other_setting_of_the_file_goes_first() -> None:
    assert with_own_files({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == {"a": "1", "b": "3", "c": "4"}
