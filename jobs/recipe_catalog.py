"""The recipes: every SQL file in ``recipes`` is one, its head comment says what it is, its sample is a module beside.

To add one: ``recipes/NAME.sql`` with a head comment as the others have it, and ``samples_NAME.py`` with a generator
``rows(n, seed)``. There is no list to edit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["Recipe", "find_recipe", "list_recipes"]

SECTIONS = ("Needs", "Gives", "Reached", "Variables")
"""What a head comment must tell, beside its first sentence. ``Runs`` may follow, where one run is not all."""

_SECTION = re.compile(r"(Needs|Gives|Reached|Variables|Runs): *(.*)")
_TABLE = re.compile(r"^CREATE TABLE `?(\w+)`? \((.*?)^\) WITH \((.*?)^\);", re.MULTILINE | re.DOTALL)
_TOPIC = re.compile(r"('topic'\s*=\s*')([^']*)(')")
_DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")

Sample = Callable[[int, int], Iterator[tuple[str, str, dict[str, Any], int]]]


@dataclass(frozen=True)
class Recipe:
    """A job as one SQL file.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    title : str
        First sentences of its head comment.
    sections : mapping of str to str
        ``Needs``, ``Gives``, ``Reached``, ``Variables``, and ``Runs`` where there are several.
    text : str
        The whole file.
    """

    name: str
    title: str
    sections: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @property
    def topics(self) -> dict[str, str]:
        """The topic of each Kafka table, as the file has it, by the table's name."""
        found = {name: _TOPIC.search(options) for name, _, options in _TABLE.findall(self.text)}
        return {name: match[2] for name, match in found.items() if match}

    @property
    def runs(self) -> list[tuple[str, dict[str, str]]]:
        """The runs of a trial, in order: name, and values of variables."""
        parts = [part.partition(":") for part in self.sections.get("Runs", "").split(";") if part.strip()]
        return [(name.strip(), dict(pair.split("=", 1) for pair in given.split())) for name, _, given in parts]

    def sample(self) -> Sample:
        """Return the generator of sample events: ``rows(n, seed)`` yields topic, key, value and time in ms.

        Raises
        ------
        ConfigError
            The recipe has none.
        """
        module = f"thalweg.jobs.samples_{self.name}"
        if find_spec(module) is None:
            remedy = "`thalweg demo` runs on real flights." if self.name == "flights" else "Publish your own events."
            raise ConfigError([Problem(f"recipe '{self.name}'", "has no sample events.", remedy)])
        rows: Sample = import_module(module).rows
        return rows

    def with_topics(self, topics: Mapping[str, str]) -> str:
        """Return the SQL with other topics, by the names of the tables; a variable keeps its place, with a new default.

        Raises
        ------
        ConfigError
            Lists every table that there is not, and every name that no topic can have.

        Examples
        --------
        >>> sql = find_recipe("edges").with_topics({"edges": "net.flows"})
        >>> "'topic' = 'net.flows'" in sql, "${brokers}" in sql
        (True, True)
        """
        known = self.topics
        tables = ", ".join(f"{table} ({topic})" for table, topic in known.items())
        problems = [
            Problem(f"--topic {table}={topic}", f"recipe '{self.name}' has no table '{table}'.", f"It has {tables}.")
            for table, topic in topics.items()
            if table not in known
        ]
        problems += [
            Problem(f"--topic {table}={topic}", "no topic can be named so.", "Use letters, digits, '.', '_' and '-'.")
            for table, topic in topics.items()
            if not _NAME.fullmatch(topic)
        ]
        if problems:
            raise ConfigError(problems)

        def renamed(match: re.Match[str]) -> str:
            topic = topics.get(match[1])
            if topic is None:
                return match[0]
            return _TOPIC.sub(lambda m: m[1] + _replaced(m[2], topic) + m[3], match[0])

        return _TABLE.sub(renamed, self.text)


def list_recipes() -> list[Recipe]:
    """Return all recipes, by name."""
    folder = files("thalweg.jobs").joinpath("recipes")
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        _read(entry.name.removesuffix(".sql"), entry.read_text("utf-8"))
        for entry in sorted(found, key=lambda e: e.name)
    ]


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name; raises ConfigError, which lists those that there are."""
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    if name not in recipes:
        raise ConfigError([Problem(f"recipe '{name}'", "there is none of that name.", f"Known: {', '.join(recipes)}.")])
    return recipes[name]


def _read(name: str, text: str) -> Recipe:
    title, sections, current = "", {}, ""
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        said = line[2:].strip()
        section = _SECTION.match(said)
        if section:
            current = section[1]
            sections[current] = section[2]
        elif current:
            sections[current] = f"{sections[current]} {said}".strip()
        else:
            title = f"{title} {said}".strip()
    return Recipe(name, title, sections, text)


def _replaced(old: str, topic: str) -> str:
    variable = _DEFAULT.fullmatch(old)
    return f"${{{variable[1]}:-{topic}}}" if variable else topic
