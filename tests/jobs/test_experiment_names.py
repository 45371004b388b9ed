"""Which names on the topic of decisions are comparisons: models decide about themselves there, too."""

from __future__ import annotations

from thalweg.jobs.experiment_report import experiment_names


def test_a_model_that_decides_about_itself_is_no_comparison() -> None:
    told = [
        {"model": "delay", "decision": "start", "arm": ""},
        {"model": "delay", "decision": "promote", "arm": "delay_v2"},
        {"model": "delay_v2", "decision": "reset", "arm": "delay_v2"},
    ]
    assert experiment_names(told) == ["delay"]
