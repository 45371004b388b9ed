"""Parts of a report's page: headings, tables and figures, as elements."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from thalweg.jobs.report_charts import clean

__all__ = ["figure", "paragraph", "section", "table"]

_COLOURS = 6


def section(level: int, title: str, parts: Sequence[Element]) -> Element:
    """Return a section with its heading, ``level`` 2 to 4."""
    found = Element("section")
    SubElement(found, f"h{level}").text = clean(title)
    found.extend(parts)
    return found


def paragraph(text: str) -> Element:
    """Return a paragraph."""
    found = Element("p")
    found.text = clean(text)
    return found


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> Element:
    """Return a table whose first ``texts`` columns are texts and whose others are numbers, in a box that scrolls."""
    box = Element("div", {"class": "scroll"})
    found = SubElement(box, "table")
    SubElement(found, "caption").text = clean(caption)
    head = SubElement(SubElement(found, "thead"), "tr")
    for column in columns:
        SubElement(head, "th", {"scope": "col"}).text = clean(column)
    body = SubElement(found, "tbody")
    for row in rows:
        line = SubElement(body, "tr")
        for at, cell in enumerate(row):
            where = {"scope": "row"} if at == 0 else {} if at < texts else {"class": "number"}
            SubElement(line, "td" if at else "th", where).text = clean(cell)
    return box


def figure(chart: Element, caption: str, names: Sequence[str] = (), numbers: Element | None = None) -> Element:
    """Return a chart with what it shows below: the names of its lines in their colours, and its numbers to unfold."""
    found = Element("figure")
    found.append(chart)
    told = SubElement(found, "figcaption")
    told.text = clean(caption)
    for at, name in enumerate(names):
        SubElement(told, "span", {"class": f"key s{at % _COLOURS}"}).text = clean(name)
    if numbers is not None:
        more = SubElement(found, "details")
        SubElement(more, "summary").text = "Numbers"
        more.append(numbers)
    return found
