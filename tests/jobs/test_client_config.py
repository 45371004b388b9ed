"""Commands take Kafka's own file with an option or from the environment; those with a broker of their own take none."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from thalweg.jobs.cli import main
from thalweg.jobs.client_config import brokers_option, config_file, security, share_with_workers, without_client_config


@click.command()
@brokers_option
def shown(brokers: str) -> None:
    share_with_workers()
    click.echo(f"{brokers} {security()} {config_file()} {os.environ.get('THALWEG_CLIENT_CONFIG')}")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THALWEG_CLIENT_CONFIG", "")  # so that it is put back, whatever a command sets
    monkeypatch.delenv("THALWEG_CLIENT_CONFIG")
    path = tmp_path / "client.properties"
    path.write_text("security.protocol=SSL\nacks=all\n")
    return path


def test_the_file_of_the_option_and_that_of_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke
    assert run(shown).output == "127.0.0.1:9092 {}  None\n"
    expected = f"127.0.0.1:9092 {{'security.protocol': 'SSL'}} {file} {file}\n"
    assert run(shown, ["--client-config", str(file)]).output == expected
    monkeypatch.setenv("THALWEG_CLIENT_CONFIG", str(file))
    assert run(shown).output == expected
    assert security() == {}  # outside of a command
    assert config_file() == ""


def test_a_file_that_is_not_there_is_one_sentence(file: Path) -> None:
    told = CliRunner().invoke(main, ["models", "list", "--client-config", str(file) + "x"])
    assert told.exit_code == 2
    assert told.output.startswith("--client-config: ")
    assert told.output.count("\n") == 1


def test_settings_that_are_wrong_are_told_before_anybody_is_asked(file: Path) -> None:
    file.write_text("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.confg=mArker7f3a9\n")
    told = CliRunner().invoke(main, ["models", "list", "--client-config", str(file)])
    assert told.exit_code == 2
    assert "Did you mean 'sasl.jaas.config'?" in told.output
    assert "mArker" not in told.output


def test_a_broker_of_ones_own_is_asked_without_security(file: Path) -> None:
    for command in (["recipes", "try", "--help"], ["demo", "--help"], ["broker", "start", "--help"]):
        told = CliRunner().invoke(main, command)
        assert told.exit_code == 0
        assert "--client-config" not in told.output


def test_nor_do_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_CLIENT_CONFIG", "/etc/client.properties")
    assert without_client_config() == {name: v for name, v in os.environ.items() if name != "THALWEG_CLIENT_CONFIG"}
