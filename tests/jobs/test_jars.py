from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from thalweg.connector.errors import SetupError
from thalweg.jobs import jars
from thalweg.jobs.java import java_command, java_major


def jar(path: Path, manifest: str = "Implementation-Version: 5.0.0-2.2\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n" + manifest)
    return path


def fill(folder: Path, profile: str) -> list[Path]:
    return sorted(jar(folder / profile / f"{artifact}-{version}.jar") for artifact, version in jars.pins(profile))


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No jars, no Maven, no Java."""
    monkeypatch.setenv("THALWEG_JARS", str(tmp_path / "jars"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def test_the_named_folder_is_the_only_one(nowhere: Path) -> None:
    assert jars.find_jars("job") == []
    expected = fill(nowhere / "jars", "job")
    assert jars.job_jars() == expected


def test_folders_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THALWEG_JARS")
    monkeypatch.setenv("HOME", str(nowhere / "home"))
    monkeypatch.chdir(nowhere)
    home, here = nowhere / "home/.thalweg/jars", nowhere / ".thalweg/jars"
    monkeypatch.setattr(jars, "__file__", str(nowhere / "checkout/jobs/jars.py"))
    at_home = fill(home, "broker")
    assert jars.broker_jars() == at_home
    in_checkout = fill(nowhere / "checkout/.thalweg/jars", "broker")
    assert jars.broker_jars() == in_checkout
    at_hand = fill(here, "broker")
    assert jars.broker_jars() == at_hand
    # Left over from another version: not what is pinned now.
    at_hand[0].rename(at_hand[0].with_name("old-1.jar"))
    assert jars.broker_jars() == in_checkout


def test_no_jars_and_no_maven_is_one_sentence(nowhere: Path) -> None:
    with pytest.raises(SetupError, match="Maven is missing: install Maven") as caught:
        jars.broker_jars()
    assert "\n" not in str(caught.value)


def test_maven_resolves_on_demand_all_or_nothing(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = nowhere / "source"
    fill(source, "gateway")
    monkeypatch.setenv("PATH", f"{nowhere / 'bin'}{os.pathsep}/bin:/usr/bin")
    told = nowhere / "told"
    output = '"${a#*=}"'
    copy = f"for a; do case $a in -Dout*) mkdir -p {output} && cp {source}/gateway/* {output};; esac; done\n"
    program(nowhere / "bin/mvn", f'echo "$@" > {told}\n{copy}echo "[ERROR] no route to host"; exit 1\n')
    with pytest.raises(SetupError, match=r"(?s)could not resolve.*no route to host"):
        jars.gateway_jars()
    assert list((nowhere / "jars").iterdir()) == []
    program(nowhere / "bin/mvn", f'echo "$@" > {told}\n{copy}')
    jar(nowhere / "jars/gateway/flink-sql-gateway-0.9.jar")
    assert [path.name for path in jars.gateway_jars()] == sorted(path.name for path in (source / "gateway").iterdir())
    assert all(word in told.read_text() for word in ("--strict-checksums", "-P gateway", "pom.xml"))
    assert [path.name for path in (nowhere / "jars").iterdir()] == ["gateway"]


@pytest.mark.parametrize("version", ["3.4.0-1.20", "1.17.2"])
def test_a_connector_for_flink_1_is_refused_in_one_line(tmp_path: Path, version: str) -> None:
    old = jar(tmp_path / "flink-sql-connector-kafka-5.0.0-2.2.jar", f"Implementation-Version: {version}\r\n")
    with pytest.raises(SetupError, match=f"is Kafka connector {version}, built for Flink 1: replace it") as caught:
        jars.check_connector([old])
    assert "\n" not in str(caught.value)


def test_connectors_that_fit_or_do_not(tmp_path: Path) -> None:
    good = jar(tmp_path / "flink-sql-connector-kafka-4.0.0-2.0.jar", "Implementation-Version: 4.0.0-2.0\n")
    jars.check_connector([tmp_path / "flink-sql-avro-2.3.0.jar", good])
    with pytest.raises(SetupError, match="No jar is Flink's Kafka connector"):
        jars.check_connector([tmp_path / "flink-sql-avro-2.3.0.jar"])
    with pytest.raises(SetupError, match="Several jars"):
        jars.check_connector([good, jar(tmp_path / "flink-connector-kafka-5.0.0-2.2.jar")])
    with pytest.raises(SetupError, match="tells no version"):
        jars.connector_version(jar(tmp_path / "a.jar", "Built-By: x\n"))
    (tmp_path / "b.jar").write_text("half a download")
    with pytest.raises(SetupError, match="not a readable jar"):
        jars.connector_version(tmp_path / "b.jar")


def test_every_profile_pins_real_versions() -> None:
    for profile in ("job", "broker", "gateway"):
        found = jars.pins(profile)
        assert found
        assert all(version[0].isdigit() for _, version in found)


def test_java_is_found_and_dated(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match="Java is missing: install a Java 17 runtime"):
        java_command()
    program(nowhere / "bin/java", "echo 'openjdk version \"1.8.0_402\"' >&2")
    assert java_major(java_command()) == 8
    program(nowhere / "home/bin/java", "echo 'openjdk version \"21\" 2023-09-19' >&2")
    monkeypatch.setenv("JAVA_HOME", str(nowhere / "home"))
    assert java_major(java_command()) == 21
    program(nowhere / "home/bin/java", "exit 1")
    with pytest.raises(SetupError, match="does not tell a version"):
        java_major(java_command())
    monkeypatch.setenv("JAVA_HOME", str(nowhere / "gone"))
    with pytest.raises(SetupError, match=r"JAVA_HOME is .*gone, which has no bin/java"):
        java_command()
    with pytest.raises(SetupError, match="does not run"):
        java_major(str(nowhere / "gone"))
