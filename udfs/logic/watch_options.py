"""What a declaration says about evaluation: metrics, slices, inputs and alerts, held against each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thalweg.udfs.engines.base import Field
from thalweg.udfs.logic.alert_rules import Rule, parse_rules, unknown_in_rules
from thalweg.udfs.logic.expected_performance import ESTIMATED
from thalweg.udfs.logic.input_drift import SCORE, input_measures
from thalweg.udfs.logic.measures import is_mean
from thalweg.udfs.logic.metrics import default_metrics, known_metrics, unknown_metrics
from thalweg.udfs.logic.old_performance import old_measures
from thalweg.udfs.logic.scorecard import Watch, main_loss, truth_kind
from thalweg.udfs.logic.signals import Attention

__all__ = ["check_watch"]

# A model that is worse than knowing nothing, or than it was, is wrong in every use; any bound of a metric depends on
# the use. The sample is large, because each model begins worse than what knows nothing.
_DEFAULT_RULES = "vs-baseline < 0 for 1 h min-samples 1000; drift > 0"
_REFERENCE_ROWS = 1000
_OF_INPUT = re.compile(r"(?:psi|ks|null-rate|out-of-range|new-values)\((.*)\)")


def check_watch(
    options: Mapping[str, str],
    values: dict[str, Any],
    task: str,
    output: str,
    wrong: Any,
    fields: Sequence[Field] = (),
) -> Watch:
    """Return what is measured, and set the default ``metrics`` in ``values``; tell what is wrong to ``wrong``."""
    if values["metrics"] is None:
        values["metrics"] = default_metrics(task, output)
    for metric in unknown_metrics(task, values["metrics"], output):
        what, known = f"'{metric}' is not a metric of {task}.", ", ".join(known_metrics(task, output))
        wrong("metrics", what, f"Known: {known}; options as in River, such as FBeta(beta=2).")
    labelled, window = values["label"] is not None, values["metrics-window"]
    loss = main_loss(task, output)
    rules = values["alerts"]
    if rules is None:
        rules = parse_rules(_DEFAULT_RULES) if labelled and loss is not None else ()
    inputs = _inputs(values, rules, fields, wrong)
    for option in ("slices", "metrics-half-life", *(() if inputs else ("alerts",))):
        if option in options and not labelled:
            wrong(option, "is given without 'label': nothing is evaluated.", "Name the label column, or remove it.")
    half_life = values["metrics-half-life"] or max(1, window // 10)
    if half_life * 5 > window:
        what = f"is {half_life}, more than a fifth of 'metrics-window', {window}: too much weight would be cut off."
        wrong("metrics-half-life", what, f"Give at most {window // 5}, or a larger window.")
    late = labelled and values["label-table"] is not None and task == "classification"
    if values["reference-label"] is not None:
        if values["reference-table"] is None:
            what = "is given without 'reference-table', whose column it names."
            wrong("reference-label", what, "Name the table with labelled rows, or remove it.")
        elif "old-examples" not in options:
            values["old-examples"] = _REFERENCE_ROWS
        elif not values["old-examples"]:
            wrong("reference-label", "is given with 'old-examples' = '0'.", "Remove one of the two.")
    old = tuple(values["metrics"]) if values["old-examples"] else ()
    if old and not labelled:
        wrong("old-examples", "is given without 'label': there are none.", "Name the label column, or remove it.")
    if "evaluate-every" in options and not old:
        wrong("evaluate-every", "is given, and no old examples are kept.", "Add 'old-examples' = '1000', or remove it.")
    given = values["reference-table"] is not None
    attention = Attention(inputs, values["reference-events"], given, labelled and loss is not None, late, old)
    measured = [*_of_labels(values, loss), *_beside(attention, task, output)] if labelled else []
    measured += [name for column, kind in inputs for name in input_measures(column, kind)]
    for condition in unknown_in_rules(rules, measured):
        wrong("alerts", f"the rule '{condition}' names what is not measured.", f"Measured: {', '.join(measured)}.")
    kept = values["metrics"] if labelled else ()
    values["metrics"] = tuple(kept) if inputs else values["metrics"]
    half = half_life if labelled else None
    return Watch(output, half, values["slices"] or (), rules, labelled and loss is not None, attention, labelled)


def _inputs(
    values: Mapping[str, Any], rules: Iterable[Rule], fields: Sequence[Field], wrong: Any
) -> tuple[tuple[str, str], ...]:
    """Return the columns that are watched: those that are named, and those that a rule needs."""
    kinds = {**dict(fields), SCORE: "number"}
    named = values["watch-inputs"] or ()
    if named in (("all",), ("none",)):
        named = tuple(kinds) if named == ("all",) else ()
    elif named:
        for name in [name for name in named if name not in kinds]:
            wrong("watch-inputs", f"'{name}' is not an input of the model.", f"It has {', '.join(kinds)}.")
        named = (*(name for name in named if name in kinds), SCORE)
    found = [match[1] for rule in rules if (match := _OF_INPUT.fullmatch(rule.metric))]
    watched = dict.fromkeys((*named, *(name for name in found if name in kinds)))
    if values["reference-table"] is not None and values["reference-label"] is None and not set(watched) - {SCORE}:
        remedy = "Add 'watch-inputs' = 'all', or 'reference-label' if its rows have labels, or remove it."
        wrong("reference-table", "is given, and no input is watched.", remedy)
    return tuple((name, kinds[name]) for name in watched)


def _of_labels(values: Mapping[str, Any], loss: str | None) -> list[str]:
    metrics = [*values["metrics"], "label-coverage", "label-delay-ms.p50", "label-delay-ms.p95"]
    if loss is not None:
        means = [metric for metric in dict.fromkeys((*values["metrics"], loss)) if is_mean(metric)]
        metrics += ["vs-baseline", *(f"baseline.{base}.{metric}" for base in ("prior", "last") for metric in means)]
        metrics += [f"worst.{loss}"] if values["slices"] else []
    return metrics


def _beside(attention: Attention, task: str, output: str) -> list[str]:
    estimated = ESTIMATED.get(truth_kind(task, output), ()) if attention.estimate else ()
    old = old_measures(attention.old, truth_kind(task, output))
    return [*old, *(["drift"] if attention.errors else []), *(f"estimated-{metric}" for metric in estimated)]
