"""One page that holds everything: it loads nothing and runs nothing, and reads well in light, in dark and on paper."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from thalweg.jobs.report_charts import clean, moment
from thalweg.jobs.report_data import ReportData
from thalweg.jobs.report_elements import paragraph, section, table
from thalweg.jobs.report_experiment import EXPERIMENT_SECTIONS
from thalweg.jobs.report_sections import SECTIONS, summary_row

__all__ = ["report_page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #5f6873; --rule: #d8dde3; --alert: #b42318;
  --c0: #1f5fbf; --c1: #b45309; --c2: #15803d; --c3: #7e22ce; --c4: #be185d; --c5: #0e7490; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14171b; --faint: #9aa4b0; --rule: #343b44;
  --alert: #ff8a80; --c0: #7db2ff; --c1: #f5b56b; --c2: #6fd08c; --c3: #c9a0ff; --c4: #ff8fbf; --c5: #67d3e8; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --rule: #bbb; --alert: #b42318;
  --c0: #1f5fbf; --c1: #b45309; --c2: #15803d; --c3: #7e22ce; --c4: #be185d; --c5: #0e7490; }
  details { display: none; } figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } nav { display: none; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; } h2 { border-top: 1px solid var(--rule); padding-top: 1.5rem; margin-top: 2.5rem; }
p, figcaption, caption { color: var(--faint); } caption { text-align: left; padding: .25rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top;
  font-weight: normal; } thead th { font-weight: 600; } .number { font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; } svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint);
  font-size: 11px; } .grid { stroke: var(--rule); } .diagonal { stroke-dasharray: 4 4; stroke: var(--faint); }
.line { fill: none; stroke-width: 1.8; } .band { stroke: none; fill-opacity: .16; }
.mark { stroke-width: 1.5; stroke-dasharray: 3 3; }
.alert { stroke: var(--alert); }
.version { stroke: var(--faint); } .key { margin-left: .9rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1.1em; margin-right: .35em; border-top: 3px solid;
  vertical-align: middle; }
a { color: var(--c0); } details { margin-top: .5rem; } summary { cursor: pointer; color: var(--faint); }
"""
_COLOURS = "".join(
    f".line.s{at} {{ stroke: var(--c{at}); }} .dot.s{at}, .bar.s{at}, .band.s{at} {{ fill: var(--c{at}); }}"
    f" .key.s{at}::before {{ border-color: var(--c{at}); }}\n"
    for at in range(6)
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(data: ReportData, title: str, made_ms: int) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    data : ReportData
        What it is about.
    title : str
        Its heading.
    made_ms : int
        When it was made, epoch ms.
    """
    page = Element("html", {"lang": "en"})
    head = SubElement(page, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    # Whatever a topic may hold: the browser itself is told to load nothing and to run nothing.
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    SubElement(head, "title").text = clean(title)
    SubElement(head, "style").text = _STYLE + _COLOURS
    main = SubElement(SubElement(page, "body"), "main")
    SubElement(main, "h1").text = clean(title)
    main.append(paragraph(f"Made {moment(made_ms)} UTC. Times are those of the events, in UTC."))
    models = sorted(data.models.items())
    if not models:
        main.append(paragraph("There is nothing in the topics yet."))
        return _text(page)
    columns = ("model", "newest figures", "predictions", "answered", "labels", "alerts raised")
    main.append(table("All models", columns, [summary_row(name, found) for name, found in models], 2))
    contents = SubElement(SubElement(main, "nav", {"aria-label": "Models"}), "ul")
    for at, (name, found) in enumerate(models):
        SubElement(SubElement(contents, "li"), "a", {"href": f"#model-{at}"}).text = clean(name)
        tried = data.experiments.get(name)
        filled = [] if tried is None else [(heading, make(name, tried)) for heading, make in EXPERIMENT_SECTIONS]
        filled += [(heading, make(found)) for heading, make in SECTIONS]
        part = section(2, name, [section(3, heading, parts) for heading, parts in filled if parts])
        part.set("id", f"model-{at}")
        main.append(part)
    for number, what in (
        (data.unmatched, "labels of events without a prediction here"),
        (data.unreadable, "unreadable records"),
    ):
        if number:
            main.append(paragraph(f"{number:,} {what}."))
    return _text(page)


def _text(page: Element) -> str:
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"
