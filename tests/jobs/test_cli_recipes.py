"""``thalweg recipes``, ``thalweg sample`` and ``thalweg run --dry-run`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from thalweg.connector.client import raw_records
from thalweg.jobs.cli import main
from thalweg.jobs.recipe_catalog import find_recipe
from thalweg.jobs.recipe_trial import results


def thalweg(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_recipes_are_listed_and_shown() -> None:
    listed = json.loads(thalweg("recipes", "list", "--json").stdout)
    assert {"anomaly", "edges", "flights", "hybrid"} <= {row["recipe"] for row in listed}
    assert "without labels" in thalweg("recipes", "list").stdout
    shown = thalweg("recipes", "show", "edges").stdout
    assert all(part in shown for part in ("needs", "gives", "reached", "edge_alerts: edges.alerts"))
    assert "CREATE MODEL" not in shown
    assert find_recipe("edges").text in thalweg("recipes", "show", "edges", "--sql").stdout
    assert json.loads(thalweg("recipes", "show", "edges", "--json").stdout)["topics"]["edges"] == "edges"
    unknown = thalweg("recipes", "show", "egdes")
    assert (unknown.exit_code, "Known: anomaly" in unknown.stderr) == (2, True)


def test_init_writes_the_file_with_topics_of_the_users_and_never_over_another(tmp_path: Path) -> None:
    out = tmp_path / "mine.sql"
    done = thalweg("recipes", "init", "edges", "--topic", "edges=net.flows", "--out", str(out))
    assert done.exit_code == 0
    assert f"thalweg run {out}" in done.stdout
    assert "'topic' = 'net.flows'" in out.read_text()
    assert "${brokers}" in out.read_text()
    again = thalweg("recipes", "init", "edges", "--out", str(out))
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert thalweg("recipes", "init", "edges", "--out", str(out), "--force").exit_code == 0
    assert out.read_text() == find_recipe("edges").text
    assert thalweg("recipes", "init", "edges", "--out", "-").stdout == find_recipe("edges").text
    nowhere = thalweg("recipes", "init", "edges", "--out", str(tmp_path / "no" / "file.sql"))
    assert (nowhere.exit_code, "cannot be written" in nowhere.stderr) == (2, True)
    wrong = thalweg("recipes", "init", "edges", "--topic", "edges")
    assert (wrong.exit_code, "TABLE=TOPIC" in wrong.stderr) == (2, True)


def test_a_sample_is_printed_as_lines() -> None:
    lines = thalweg("sample", "edges", "--rows", "3", "--print").stdout.splitlines()
    assert len(lines) == 3
    assert set(json.loads(lines[0])) == {"topic", "key", "time_ms", "value"}
    none = thalweg("sample", "flights", "--print")
    assert (none.exit_code, "thalweg demo" in none.stderr) == (2, True)
    assert thalweg("recipes", "try", "flights").exit_code == 2


@pytest.mark.cluster
def test_a_sample_goes_into_topics_of_the_users(broker: str, topic_name: str) -> None:
    recipe = find_recipe("edges")
    topics = {table: f"{topic_name}.{table}" for table in recipe.topics}
    words = [word for pair in topics.items() for word in ("--topic", "=".join(pair))]
    done = thalweg("sample", "edges", "--brokers", broker, "--rows", "20", *words, "--json")
    assert json.loads(done.stdout) == {topics["edges"]: 20}
    found = [(r.key.decode(), json.loads(r.value), r.timestamp) for r in raw_records(broker, topics["edges"], {})]
    assert found == [(key, value, ms) for _, key, value, ms in recipe.sample()(20, 0)]
    # The topics that the job writes are there, too, and empty.
    assert results(broker, recipe, topics) == {topics["edge_scores"]: [], topics["edge_alerts"]: []}
    twice = thalweg("sample", "edges", "--brokers", broker, "--rows", "20", *words)
    assert "20" in twice.stdout


@pytest.mark.cluster
def test_a_dry_run_tells_what_would_happen_and_needs_no_broker(tmp_path: Path) -> None:
    file = tmp_path / "edges.sql"
    file.write_text(find_recipe("edges").text)
    told = thalweg("run", str(file), "-D", "brokers=127.0.0.1:1", "--dry-run")
    assert told.exit_code == 0, told.output
    for part in ("strange", "midas", "topic edges.alerts", "strange_predictions", "Nothing has run"):
        assert part in told.stdout
    file.write_text(find_recipe("edges").text.replace("'quantile' =", "'quantil' ="))
    wrong = thalweg("run", str(file), "-D", "brokers=127.0.0.1:1", "--dry-run")
    assert wrong.exit_code == 2
    assert "Did you mean 'quantile'" in wrong.stderr
    hybrid = find_recipe("hybrid").text.replace("'input-table' = 'customers'", "'input-table' = 'seen'")
    file.write_text(hybrid.replace("CREATE MODEL", "CREATE VIEW seen AS SELECT * FROM customers;\nCREATE MODEL", 1))
    batch = thalweg(
        "run", str(file), "-D", "brokers=127.0.0.1:1", "-D", "mode=batch", "-D", "bounded=latest-offset", "--dry-run"
    )
    assert batch.exit_code == 2
    assert "in batch mode only a table" in batch.stderr
