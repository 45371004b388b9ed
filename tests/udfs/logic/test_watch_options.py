"""The options of the evaluation are held against each other, the task and the label."""

from __future__ import annotations

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.logic.declaration import Declaration, declare


def declared(output: str = "BOOLEAN", **options: str) -> Declaration:
    given = {"provider": "river", "model": "m", "input-table": "t", "event-id": "id", "label": "y"}
    given |= {name.replace("_", "-"): text for name, text in options.items()}
    return declare("m", [("a", "DOUBLE")], [("y", output)], {k: v for k, v in given.items() if v}, (), True)


def test_by_default_there_are_two_rules_and_a_half_life_of_a_tenth() -> None:
    watch = declared().watch
    assert [rule.condition() for rule in watch.rules] == ["vs-baseline < 0", "drift > 0"]
    assert (watch.half_life, watch.slices, watch.baselines) == (500, (), True)
    assert declared(alerts="none").watch.rules == ()
    assert declared("DOUBLE", task="anomaly").watch.rules == ()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"metrics": "FBeta(gamma=1)"}, "'FBeta(gamma=1)' is not a metric"),
        ({"metrics_half_life": "2000"}, "more than a fifth of 'metrics-window'"),
        ({"alerts": "MAE < 3"}, "the rule 'MAE < 3' names what is not measured"),
        ({"alerts": "worst.LogLoss > 3"}, "Measured: ROCAUC"),
        ({"alerts": "quality good"}, "the rule 'quality good' is not of the form"),
        ({"task": "anomaly", "label": "", "slices": "a"}, "option 'slices': is given without 'label'"),
    ],
)
def test_what_does_not_fit_is_told(options: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        declared("DOUBLE" if "task" in options else "BOOLEAN", **options)
    assert named in str(error.value)


def test_every_kind_of_metric_can_be_named() -> None:
    assert declared(metrics="ROCAUC, F1, FBeta(beta=2), ECE, CohenKappa").metrics[2] == "FBeta(beta=2)"
    assert declared("STRING", metrics="ECE, MacroF1").metrics == ("ECE", "MacroF1")
    assert declared("DOUBLE", metrics="R2, SMAPE", slices="a, b", alerts="worst.MAE > 3").watch.slices == ("a", "b")


def test_inputs_are_watched_where_they_are_named_or_a_rule_needs_them() -> None:
    assert declared().watch.attention.inputs == ()
    assert declared(alerts="psi(a) > 0.2").watch.attention.inputs == (("a", "number"),)
    assert declared(alerts="psi(score) > 0.2").watch.attention.inputs == (("score", "number"),)
    assert declared(watch_inputs="a").watch.attention.inputs == (("a", "number"), ("score", "number"))
    assert declared(watch_inputs="all").watch.attention.inputs == (("a", "number"), ("score", "number"))
    assert declared(watch_inputs="none", alerts="none").watch.attention.inputs == ()
    unlabelled = declared("DOUBLE", task="anomaly", label="", alerts="null-rate(a) > 0.1").watch
    assert (unlabelled.labelled, unlabelled.baselines, len(unlabelled.rules)) == (False, False, 1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"watch_inputs": "b"}, "'b' is not an input of the model. It has a, score"),
        ({"alerts": "psi(b) > 0.2"}, "the rule 'psi(b) > 0.2' names what is not measured"),
        ({"alerts": "new-values(a) > 0.2"}, "psi(a), null-rate(a), ks(a), out-of-range(a)"),
        ({"reference_table": "r"}, "option 'reference-table': is given, and no input is watched"),
        ({"task": "anomaly", "label": "", "alerts": "ROCAUC < 1; psi(a) > 1"}, "Measured: psi(a)"),
    ],
)
def test_inputs_that_do_not_fit_are_told(options: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        declared("DOUBLE" if "task" in options else "BOOLEAN", **options)
    assert named in str(error.value)


def test_a_labelled_reference_needs_its_table_and_room() -> None:
    found = declared(reference_table="r", reference_label="truth")
    assert (found.reference_label, found.old_examples, found.watch.attention.inputs) == ("truth", 1000, ())
    assert declared(reference_table="r", reference_label="truth", old_examples="50").old_examples == 50
    for options, named in (
        ({"reference_label": "truth"}, "option 'reference-label': is given without 'reference-table'"),
        ({"reference_table": "r", "reference_label": "y", "old_examples": "0"}, "is given with 'old-examples' = '0'"),
        ({"reference_table": "r"}, "or 'reference-label' if its rows have labels"),
        (
            {"reference_table": "r", "reference_label": "y", "label": "", "task": "anomaly"},
            "option 'old-examples': is given without 'label'",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            declared("DOUBLE" if "task" in options else "BOOLEAN", **options)
        assert named in str(error.value)
