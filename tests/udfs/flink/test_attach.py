"""Models of a program and their comparisons: what is built once, what is carried, all that is wrong told at once."""

from __future__ import annotations

from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.flink import attach as module
from thalweg.udfs.flink.attach import Models, attach
from thalweg.udfs.flink.comparison_flow import build_comparison
from thalweg.udfs.flink.flow import Built
from thalweg.udfs.flink.tables import Declared
from thalweg.udfs.logic.arm_guard import ArmRole
from thalweg.udfs.logic.compare_declaration import declare_comparison

MODEL = {
    "provider": "river", "model": "linear_model.LogisticRegression()", "input-table": "events", "event-id": "id",
    "label-table": "labels", "label": "y",
}  # fmt: skip
COMPARED = {
    "first": {"provider": "compare", "default": "v1", "candidates": "v2:20", "unit": "who"},
    "second": {
        "provider": "compare",
        "default": "v1",
        "mirror": "v3:100",
        "slices": "carrier",
        "shadow-budget": "5 ms",
    },
}


class Catalog:
    """A table environment that has models and settings, and nothing that runs."""

    def __init__(self, options: dict[str, dict[str, str]], **config: str) -> None:
        self.options, self.config = options, {name.replace("__", "."): text for name, text in config.items()}

    def list_models(self) -> list[str]:
        return list(self.options)

    def list_temporary_models(self) -> list[str]:
        return []

    def get_config(self) -> Any:
        return self.config


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been built, in order."""
    done: list[tuple[Any, ...]] = []

    def read(t_env: Catalog, name: str) -> Declared:
        options = t_env.options[name]
        columns = ([], []) if options["provider"] == "compare" else ([("a", "DOUBLE")], [("y", "BOOLEAN")])
        return Declared(*columns, options)

    def flow(_: Any, declaration: Any, reader: Any, role: ArmRole | None) -> Built:
        role = role or ArmRole()
        assert role[1:3] == ((True, 5) if declaration.name == "v3" else (False, None))
        done.append((declaration.name, role.carried))
        return Built(declaration.name, role.carried, None, True)

    def comparison(_: Any, declaration: Any, flows: dict[str, Built], reader: Any) -> None:
        done.append((declaration.name, tuple(flows[arm.name].answers for arm in declaration.plan.arms)))

    monkeypatch.setattr(module, "TableReader", lambda t_env: None)
    monkeypatch.setattr(module, "read_model", read)
    monkeypatch.setattr(module, "build_flow", flow)
    monkeypatch.setattr(module, "build_comparison", comparison)
    return done


def catalog(**more: dict[str, str]) -> Any:
    return Catalog({**{name: MODEL for name in ("v1", "v2", "v3")}, **COMPARED, **more})


def test_two_comparisons_share_a_model_that_is_built_once(built: list[Any]) -> None:
    models = Models(catalog())
    models.build(["first", "second"])
    assert sorted(built[:3]) == [("v1", ("who", "carrier")), ("v2", ("who",)), ("v3", ("carrier",))]
    assert built[3:] == [("first", ("v1", "v2")), ("second", ("v1", "v3"))]
    models.build(["first", "v1"])
    assert len(built) == 5, "what is there already is left alone"


def test_all_that_is_wrong_with_comparisons_and_models_is_told_at_once(built: list[Any]) -> None:
    wrong = {"provider": "compare", "default": "v1", "candidates": "v4:20, v9:20", "alpha": "2"}
    with pytest.raises(ConfigError) as caught:
        Models(catalog(third=wrong, v4={**MODEL, "lable": "y"})).build(["first", "third"])
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    for words in ("model v4, option 'lable'", "model third, option 'alpha'", "there is no model 'v9'"):
        assert sum(words in problem for problem in told) == 1, told
    assert "first" not in [name for name, _ in built], "no comparison is built when anything is wrong"


def test_a_model_that_was_built_before_its_comparison_is_told() -> None:
    t_env = catalog()
    declarations = {name: module._declaration(name, Declared([("a", "DOUBLE")], [("y", "BOOLEAN")], MODEL))
                    for name in ("v1", "v2", "v3")}  # fmt: skip
    found = declare_comparison("first", [], COMPARED["first"], declarations, t_env.list_models())
    flows = {"v1": Built("a", (), None, False), "v2": Built("b", ("carrier", "who"), None, True)}
    with pytest.raises(ConfigError) as caught:
        build_comparison(t_env, found, flows, None)  # type: ignore[arg-type]  # it does not come to that
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert told[0].startswith("model v1: has no watermark")
    assert told[1].startswith("model v1: was built before first was known, and its answers do not carry who.")


@pytest.mark.parametrize(
    ("option", "text"),
    [("python__execution-mode", "thread"), ("python__state__cache-size", "0"),
     ("python__map-state__read-cache-size", "00")],
)  # fmt: skip
def test_an_environment_that_would_lose_state_is_refused(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        attach(Catalog({}, **{option: text}))  # type: ignore[arg-type]
    assert option.replace("__", ".") in str(caught.value)
