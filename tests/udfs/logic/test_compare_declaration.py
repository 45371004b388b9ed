"""A comparison held against the models that it names: all that is wrong at once, each with its option and remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.logic.arm_guard import ArmRole
from thalweg.udfs.logic.compare_declaration import (
    CompareDeclaration,
    arm_names,
    arm_role,
    declare_comparison,
)
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.options import Every

COMMON = {
    "provider": "river", "model": "linear_model.LogisticRegression()", "input-table": "events", "event-id": "id",
    "label-table": "labels", "label": "y",
}  # fmt: skip
WHOLE = {"provider": "compare", "default": "v1", "candidates": "v2:20, v3:10", "mirror": "v4:100"}


def model(name: str, output: str = "BOOLEAN", without: tuple[str, ...] = (), **changed: str) -> Declaration:
    options = {**COMMON, **{option.replace("_", "-"): text for option, text in changed.items()}}
    options = {option: text for option, text in options.items() if option not in without}
    return declare(name, [("a", "DOUBLE")], [("y", output)], options, (), "label" in options)


MODELS = {name: model(name) for name in ("v1", "v2", "v3", "v4")}
STILL = replace(MODELS["v4"], name="fixed", learns=False)


def compared(options: dict[str, str], models: Any = MODELS, outputs: Any = ()) -> CompareDeclaration:
    return declare_comparison("delay", outputs, options, models, [*MODELS, "delay"])


def told(options: dict[str, str], models: Any = MODELS, outputs: Any = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compared(options, models, outputs)
    return [str(problem) for problem in caught.value.problems]


def test_a_plan_has_all_that_was_said() -> None:
    found = compared(
        {
            **WHOLE,
            "unit": "who",
            "salt": "s",
            "alpha": "0.01",
            "min-samples": "50",
            "serve-after": "70",
            "min-duration": "2 h",
            "promote": "auto",
            "metrics-every": "100 events",
            "slices": "carrier",
            "control-table": "orders",
        }
    )
    plan = found.plan
    assert [tuple(arm) for arm in plan.arms] == [
        ("v1", 0, False), ("v2", 20, False), ("v3", 10, False), ("v4", 100, True),
    ]  # fmt: skip
    assert (plan.name, plan.default, plan.salt, plan.metric, plan.output) == ("delay", "v1", "s", "LogLoss", "boolean")
    assert (plan.alpha, plan.min_samples, plan.min_duration_ms, plan.promote) == (0.01, 50, 7_200_000, "auto")
    assert (plan.every, plan.serve_after) == (Every(100, None), 70)
    assert plan.label_timeout_ms == 86_400_000
    assert [arm.name for arm in found.arms] == ["v1", "v2", "v3", "v4"]
    assert found.carried() == ("who", "carrier")
    assert found.control_table == "orders"


def test_what_guardrails_ask_for_is_carried() -> None:
    found = compared({**WHOLE, "guardrails": "LogLoss not worse than 0.01; slice(carrier)", "slices": "origin"})
    assert found.plan.slices == found.carried() == ("origin", "carrier")
    assert [rule.told() for rule in found.plan.guardrails] == ["LogLoss not worse than 0.01", "slice(carrier)"]


def test_numbers_are_compared_by_their_absolute_error() -> None:
    models = {name: model(name, "DOUBLE", model="linear_model.LinearRegression()") for name in MODELS}
    assert compared(WHOLE, models).plan.metric == "MAE"


def test_a_reward_is_carried_with_the_event_only_where_the_event_has_the_label() -> None:
    options = {**WHOLE, "reward": "revenue", "reward-base": "visits", "reward-cap": "100"}
    assert compared(options).carried() == ()
    assert compared(options).rewards() == ("revenue", "visits")
    inside = {name: model(name, without=("label-table",)) for name in MODELS}
    found = compared({**options, "unit": "who"}, inside)
    assert found.carried() == ("who", "revenue", "visits")
    assert found.plan.reward_cap == 100


def test_the_output_may_be_left_out_and_else_is_that_of_the_models() -> None:
    assert compared(WHOLE, outputs=[("y", "BOOLEAN")]).plan == compared(WHOLE).plan
    assert told(WHOLE, outputs=[("y", "DOUBLE")]) == [
        "model delay, OUTPUT: is y DOUBLE, and the models predict y boolean (classification)."
        " Leave INPUT and OUTPUT out."
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"candidates": "v2:70, v3:40"}, "'candidates': their shares are 110 percent together"),
        ({"candidates": "v2:20, v1:10"}, "'candidates': 'v1' takes part already"),
        ({"mirror": "v2:100"}, "'mirror': 'v2' takes part already"),
        ({"mirror": "v33:100"}, "'mirror': there is no model 'v33' that could be compared. Did you mean 'v3'?"),
        ({"mirror": "xyz:100"}, "there is no model 'xyz' that could be compared. Declare it with CREATE MODEL"),
        ({"mirror": "delay:100"}, "'mirror': 'delay' is this comparison itself"),
        ({"guardrail": "none"}, "'guardrail': unknown option. Did you mean 'guardrails'?"),
        ({"label": "y"}, "'label': is an option of the models that are compared"),
        ({"reward-cap": "5"}, "'reward-cap': is given without 'reward'"),
        (
            {"metric": "MAE"},
            "'metric': models cannot be compared by 'MAE' in classification of boolean. Known: LogLoss,",
        ),
        ({"guardrails": "MAE < 3"}, "'guardrails': the rule 'MAE < 3' names what is not measured. Measured: LogLoss,"),
        ({"shadow-budget": "0"}, "'shadow-budget': '0' is not above zero"),
        ({"exploration": "0.5"}, "'exploration': is given, and the shares are fixed"),
        (
            {"serve-after": "9", "reward": "r"},
            "'serve-after': is given, and a candidate that answers nobody is compared",
        ),
    ],
)
def test_what_contradicts_is_told(change: dict[str, str], words: str) -> None:
    (problem,) = told({**WHOLE, **change}, {**MODELS, "fixed": STILL})
    assert problem.startswith("model delay, option ")
    assert words in problem


def test_everything_that_is_wrong_is_told_at_once() -> None:
    problems = told({"provider": "compare", "alpha": "2", "cadense": "x", "reward-base": "b", "allocation": "ucb"})
    assert len(problems) == 6
    for option in ("alpha", "cadense", "default", "candidates", "reward-base", "allocation"):
        assert sum(f"option '{option}'" in problem for problem in problems) == 1, problems


def test_models_that_do_not_stand_side_by_side_are_told_by_name_and_option() -> None:
    models = {
        **MODELS,
        "v2": model("v2", label_timeout="1 h", label_default="false"),
        "v3": model("v3", "STRING"),
        "v4": model("v4", order="arrival", event_time="ts"),
    }
    problems = told(WHOLE, models)
    expected = {
        "model v2, option 'label-timeout': is '3600000' here, and '86400000' in model v1",
        "model v2, option 'label-default': is 'false' here, and not given in model v1",
        "model v3, OUTPUT: predicts y string (classification), and model v1",
        "model v4, option 'order': is 'arrival'",
        "model v4, option 'event-time': is 'ts' here, and not given",
    }
    assert len(problems) == len(expected)
    for words in expected:
        assert sum(problem.startswith(words) for problem in problems) == 1, (words, problems)


def test_without_labels_nothing_that_needs_them_is_taken() -> None:
    bare = {"label", "label-table"}
    models = {
        name: declare(
            name, [("a", "DOUBLE")], [("y", "BOOLEAN")],
            {option: text for option, text in COMMON.items() if option not in bare}, (), False,
        )
        for name in MODELS
    }  # fmt: skip
    assert compared(WHOLE, models).plan.promote == "manual"
    problems = told({**WHOLE, "promote": "auto", "reward": "revenue"}, models)
    assert [problem.split("'")[1] for problem in problems] == ["reward", "promote"]


def test_a_model_that_is_wrong_itself_is_not_blamed_twice() -> None:
    assert told(WHOLE, {**MODELS, "v3": None}) == ["model delay: a model that it names is wrong. Correct that first."]


def test_only_who_is_a_shadow_everywhere_has_a_budget_and_the_least_counts() -> None:
    first = compared({**WHOLE, "shadow-budget": "5 ms"})
    second = compared({"provider": "compare", "default": "v1", "mirror": "v4:100", "shadow-budget": "2 ms"})
    third = compared({"provider": "compare", "default": "v1", "candidates": "v4:20"})
    assert arm_role("v4", [first]) == ArmRole((), True, 5)
    assert arm_role("v4", [first, second]) == ArmRole((), True, 2)
    assert arm_role("v4", [first, third]) == ArmRole()
    assert arm_role("v2", [first]) == ArmRole()
    assert arm_role("v4", [third]) == ArmRole()
    assert arm_role("v9", [first, second, third]) is None
    some = compared({**WHOLE, "mirror": "v4:25"})
    assert arm_role("v4", [some]) == ArmRole((), True, None, 0.25)
    assert arm_role("v4", [some, second]) == ArmRole((), True, 2, 1.0), "who wants all of its answers gets them"
    assert arm_role("v4", [some, third]) == ArmRole()


def test_a_default_label_comes_in_time() -> None:
    assert compared(WHOLE).plan.label_timeout_ms == MODELS["v1"].label_timeout
    models = {name: model(name, label_default="false", label_timeout="5 min") for name in MODELS}
    assert compared(WHOLE, models).plan.label_timeout_ms == 300_001, "it is made a millisecond after the timeout"


def test_a_shadow_of_any_kind_may_have_a_budget_and_any_model_a_bound_on_its_time() -> None:
    found = compared({**WHOLE, "mirror": "fixed:100", "shadow-budget": "2 ms", "guardrails": "latency_p99 < 50 ms"},
                     {**MODELS, "fixed": STILL})  # fmt: skip
    assert arm_role("fixed", [found]) == ArmRole((), True, 2)
    assert [rule.told() for rule in found.plan.guardrails] == ["latency_p99 < 50 ms"]


def test_the_names_are_read_as_far_as_they_can_be() -> None:
    assert arm_names(WHOLE) == ["v1", "v2", "v3", "v4"]
    assert arm_names({"default": " ", "candidates": "v2:x", "mirror": "v2:1, v3:1"}) == ["v2", "v3"]
    assert arm_names({}) == []
