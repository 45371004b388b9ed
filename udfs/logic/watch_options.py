"""What a declaration says about evaluation: metrics, slices and alerts, held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.udfs.logic.alert_rules import parse_rules, unknown_in_rules
from thalweg.udfs.logic.measures import is_mean
from thalweg.udfs.logic.metrics import default_metrics, known_metrics, unknown_metrics
from thalweg.udfs.logic.scorecard import Watch, main_loss

__all__ = ["check_watch"]

# A model that is worse than knowing nothing is wrong in every use; any bound of a metric depends on the use. The
# sample is large, because each model begins worse than what knows nothing.
_DEFAULT_RULES = "vs-baseline < 0 for 1 h min-samples 1000"


def check_watch(options: Mapping[str, str], values: dict[str, Any], task: str, output: str, wrong: Any) -> Watch:
    """Return what is measured, and set the default ``metrics`` in ``values``; tell what is wrong to ``wrong``."""
    if values["metrics"] is None:
        values["metrics"] = default_metrics(task, output)
    for metric in unknown_metrics(task, values["metrics"], output):
        what, known = f"'{metric}' is not a metric of {task}.", ", ".join(known_metrics(task, output))
        wrong("metrics", what, f"Known: {known}; options as in River, such as FBeta(beta=2).")
    labelled, window = values["label"] is not None, values["metrics-window"]
    for option in ("slices", "alerts", "metrics-half-life"):
        if option in options and not labelled:
            wrong(option, "is given without 'label': nothing is evaluated.", "Name the label column, or remove it.")
    half_life = values["metrics-half-life"] or max(1, window // 10)
    if half_life * 5 > window:
        what = f"is {half_life}, more than a fifth of 'metrics-window', {window}: too much weight would be cut off."
        wrong("metrics-half-life", what, f"Give at most {window // 5}, or a larger window.")
    loss = main_loss(task, output)
    rules = values["alerts"]
    if rules is None:
        rules = parse_rules(_DEFAULT_RULES) if labelled and loss is not None else ()
    metrics = [*values["metrics"], "label-coverage", "label-delay-ms.p50", "label-delay-ms.p95"]
    if loss is not None:
        means = [metric for metric in dict.fromkeys((*values["metrics"], loss)) if is_mean(metric)]
        metrics += ["vs-baseline", *(f"baseline.{base}.{metric}" for base in ("prior", "last") for metric in means)]
        metrics += [f"worst.{loss}"] if values["slices"] else []
    for condition in unknown_in_rules(rules, metrics):
        wrong("alerts", f"the rule '{condition}' names what is not measured.", f"Measured: {', '.join(metrics)}.")
    return Watch(output, half_life, values["slices"] or (), rules, loss is not None)
