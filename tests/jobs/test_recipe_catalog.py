"""Every recipe says what it is, can be pointed at other topics, and runs on sample events that fit its tables."""

from __future__ import annotations

import re

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.jobs.recipe_catalog import SECTIONS, Recipe, find_recipe, list_recipes
from thalweg.jobs.script import parse_script

RECIPES = list_recipes()
SAMPLED = [recipe for recipe in RECIPES if recipe.name != "flights"]  # its events are real ones: thalweg demo
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
every_sample = pytest.mark.parametrize("recipe", SAMPLED, ids=[recipe.name for recipe in SAMPLED])
GIVEN = {"brokers": "b:1", "frozen": "f"}


def tables(recipe: Recipe, given: dict[str, str]) -> dict[str, set[str]]:
    """Physical columns of each topic's table."""
    found = {}
    for statement in parse_script(recipe.text, recipe.name, {**GIVEN, **given}):
        topic = re.search(r"'topic' = '([^']*)'", statement.text)
        if statement.kind == "CREATE TABLE" and topic:
            body = statement.text.partition("(")[2]
            found[topic[1]] = set(re.findall(r"^  `?(\w+)`? (?:STRING|DOUBLE|BIGINT|INT|BOOLEAN)", body, re.MULTILINE))
    return found


@every_recipe
def test_a_recipe_says_what_it_needs_gives_and_has_reached(recipe: Recipe) -> None:
    assert recipe.title
    assert all(recipe.sections.get(section) for section in SECTIONS)
    said = recipe.sections["Variables"]
    used = set(re.findall(r"\$\{(\w+)", recipe.text))
    assert not {name for name in used if not re.search(rf"\b{name}\b", said)}, "variables that the head does not name"
    assert "brokers" in used
    assert {"'${brokers}'"} == set(re.findall(r"'properties.bootstrap.servers' = ('[^']*')", recipe.text))
    # Each table that is read can be read to its end, so that a trial ends.
    ends = parse_script(recipe.text, recipe.name, {**GIVEN, "bounded": "latest-offset"})
    read = [s.text for s in ends if s.kind == "CREATE TABLE" and "WATERMARK FOR" in s.text]
    assert read
    assert all("'scan.bounded.mode' = 'latest-offset'" in text for text in read)


@every_recipe
def test_topics_can_be_others(recipe: Recipe) -> None:
    topics = {table: f"my.{table}" for table in recipe.topics}
    moved = parse_script(recipe.with_topics(topics), recipe.name, GIVEN)
    found = [re.search(r"'topic' = '([^']*)'", s.text) for s in moved if s.kind == "CREATE TABLE"]
    assert [match[1] for match in found if match] == list(topics.values())
    assert recipe.with_topics({}) == recipe.text


def test_a_variable_keeps_its_place_under_another_topic() -> None:
    assert "'topic' = '${input:-clicks}'" in find_recipe("hybrid").with_topics({"customers": "clicks"})


def test_what_is_no_table_and_no_topic_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe("edges").with_topics({"edge": "a", "edges": "a b"})
    assert "no table 'edge'" in str(caught.value)
    assert "edges=a b" in str(caught.value)
    with pytest.raises(ConfigError, match="Known: anomaly, edges"):
        find_recipe("egdes")
    with pytest.raises(ConfigError, match="thalweg demo"):
        find_recipe("flights").sample()


@every_sample
def test_a_sample_is_pure_in_order_and_fits_the_tables(recipe: Recipe) -> None:
    rows = recipe.sample()
    found = list(rows(1000, 3))
    assert found == list(rows(1000, 3)) != list(rows(1000, 4))
    assert 500 <= len(found) <= 5000
    columns: dict[str, set[str]] = {}
    for _, given in recipe.runs or [("", {})]:
        columns |= tables(recipe, given)
    last: dict[str, int] = {}
    for topic, key, value, time_ms in found:
        assert isinstance(key, str)
        assert set(value) <= columns[topic], topic
        assert time_ms >= last.get(topic, 0)
        last[topic] = time_ms


def test_runs_are_read_from_the_head() -> None:
    assert [name for name, _ in find_recipe("hybrid").runs] == ["nightly", "live"]
    assert find_recipe("hybrid").runs[0][1]["mode"] == "batch"
    assert find_recipe("edges").runs == []
