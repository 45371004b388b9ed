"""``thalweg doctor``."""

from __future__ import annotations

import click
from thalweg.jobs.client_config import client_config_option, config_file, security
from thalweg.jobs.output import json_option, print_json, print_table

__all__ = ["doctor_command"]


@click.command("doctor")
@click.option("--brokers", default="", help="host:port, ...: ask whether these Kafka brokers answer.")
@client_config_option
@click.option("--target", default="", help="host:port: ask whether this Flink cluster answers, and its version.")
@click.option("--slots", type=click.IntRange(1), default=1, show_default=True, help="Python workers on this machine.")
@click.option("--keys", type=click.IntRange(1), default=1000, show_default=True, help="Models in a worker's cache.")
@click.option("--model-bytes", type=click.IntRange(1), default=10_000, show_default=True, help="Size of one model.")
@json_option
@click.pass_context
def doctor_command(
    context: click.Context, brokers: str, target: str, slots: int, keys: int, model_bytes: int, as_json: bool
) -> None:
    """Check what jobs need of this machine; exit code 1 if a check fails.

    \b
    Example:
      thalweg doctor --brokers 127.0.0.1:9092 --target 127.0.0.1:8081
      thalweg doctor --brokers kafka:9093 --client-config client.properties
    """
    from thalweg.jobs.doctor import Plan, examine

    checks = list(examine(Plan(brokers, target, slots, keys, model_bytes, tuple(security().items()), config_file())))
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        print_table(("check", "state", "found", "remedy"), checks)
    context.exit(1 if any(check.state == "fail" for check in checks) else 0)
