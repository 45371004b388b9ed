"""``thalweg report``: how models have done, as one page for people."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import click
from thalweg.connector.errors import ConfigError, Problem, WireError
from thalweg.jobs.output import json_option, print_json
from thalweg.jobs.report_data import ReportData
from thalweg.jobs.topic_names import open_logs, topic_options

__all__ = ["report_command"]


@click.command("report")
@topic_options("metric", "prediction", "alert", "label", "decision")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write, such as report.html.",
)
@click.option("--title", default="How the models have done", show_default=True, help="The heading of the page.")
@click.option(
    "--newest",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    help="The most records of a partition that are read.",
)
@json_option
def report_command(
    app: str | None,
    brokers: str,
    metric_topics: tuple[str, ...],
    prediction_topics: tuple[str, ...],
    alert_topics: tuple[str, ...],
    label_topics: tuple[str, ...],
    decision_topics: tuple[str, ...],
    out: Path,
    title: str,
    newest: int,
    as_json: bool,
) -> None:
    """Write one page about models: metrics over time with versions and alerts, calibration, scores, labels, slices.

    It also shows how old examples are answered, and what became of a model after a drift.

    Of a live comparison it shows over time who answers, each model's metric with its interval, the evidence, how long
    events wait, and the decisions.

    The page holds everything and loads nothing. Labels are those of the schema 'label'; with them it shows calibration
    and how long labels take.

    \b
    Example:
      thalweg report --app flights --out report.html
      thalweg report --metrics delay.metrics --alerts delay.alerts --out report.html
    """
    from thalweg.connector.wire import decode
    from thalweg.jobs.report_page import report_page

    named = {"metric": metric_topics, "prediction": prediction_topics, "alert": alert_topics, "label": label_topics}
    named["decision"] = decision_topics
    data, read = ReportData(), dict.fromkeys(named, 0)
    with ExitStack() as opened:
        logs = open_logs(opened, brokers, app, named)
        # A label is held against the predictions that are known, and decisions tell what is a comparison.
        for kind, log in sorted(logs, key=lambda pair: (pair[0] == "label", pair[0] != "decision")):
            log.skip(newest)
            for record in log.new():
                if record.value is None:
                    continue
                try:
                    data.add(kind, decode(kind, record.value))
                    read[kind] += 1
                except WireError:
                    data.unreadable += 1
    page = report_page(data, title, int(time.time() * 1000))
    try:
        out.write_text(page, "utf-8")
    except OSError as error:
        what = f"cannot be written ({error.strerror})."
        raise ConfigError([Problem(f"file {out}", what, "Check the path and its permissions.")]) from error
    if as_json:
        print_json({"file": str(out), "bytes": len(page.encode()), "models": sorted(data.models), "records": read})
    else:
        click.echo(f"{out}: {len(data.models)} models, {sum(read.values()):,} records.")
