"""A customer's own jars and Python files beside Thalweg's: neither pushes the other out, and each is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.jars import check_connector, is_connector

__all__ = ["with_own_files"]

_JARS, _FILES = "pipeline.jars", "python.files"


def with_own_files(ours: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return Flink's settings: a customer's before ours, but for files, which are joined.

    Flink takes jars as URLs alone, and looks for them only as a query runs. Here a path will do, also a relative one,
    and one that is not there is told at once. A Kafka connector of the customer's stands in for the pinned one.

    Parameters
    ----------
    ours, own : mapping of str to str
        Ours, and what ``SET`` statements say.

    Raises
    ------
    ConfigError
        Files that are not there; lists all.
    SetupError
        The Kafka connector is for another Flink, or there are several.

    Examples
    --------
    >>> with_own_files({"python.files": "/tmp/thalweg.zip", "a": "1"}, {"a": "2"})
    {'python.files': '/tmp/thalweg.zip', 'a': '2'}
    """
    joined, problems = {**ours, **own}, list[Problem]()
    if _JARS in own:
        urls = [_url(part, problems) for part in _parts(own[_JARS], ";")]
        named = [_path(url) for url in urls]
        replaced = any(map(is_connector, named))
        kept = [url for url in _parts(ours.get(_JARS, ""), ";") if not (replaced and is_connector(_path(url)))]
        if replaced and not problems:
            check_connector([path for path, url in zip(named, urls, strict=True) if url.startswith("file:")])
        joined[_JARS] = ";".join(dict.fromkeys([*kept, *urls]))
    if _FILES in own:
        files = _parts(own[_FILES], ",")
        for file in files:
            if ":" not in file and not Path(file).exists():
                problems.append(_missing(_FILES, file))
        joined[_FILES] = ",".join(dict.fromkeys([*_parts(ours.get(_FILES, ""), ","), *files]))
    if problems:
        raise ConfigError(problems)
    return joined


def _parts(text: str, sign: str) -> list[str]:
    return [part.strip() for part in text.split(sign) if part.strip()]


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _url(text: str, problems: list[Problem]) -> str:
    """Return a jar as Flink takes it, and look whether a local one is there."""
    if urlsplit(text).scheme not in ("", "file"):
        return text
    path = (_path(text) if text.startswith("file:") else Path(text)).absolute()
    if not path.is_file():
        problems.append(_missing(_JARS, text))
    return path.as_uri()


def _missing(option: str, name: str) -> Problem:
    what = f"'{name}' is not there (from {Path.cwd()})."
    return Problem(f"setting '{option}'", what, "Name a file that exists, best by its whole path.")
