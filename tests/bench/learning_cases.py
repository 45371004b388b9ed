"""The cases of the learning benchmark: what each learns from, as SQL for Flink and as rows for River's plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from river import anomaly, forest, linear_model, preprocessing, tree

__all__ = ["CASES", "Case", "chosen", "declaration", "events_sql", "rows_of"]

_LINEAR = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
# The three features of most cases come first.
_FACTORS = (31, 37, 41, *range(47, 155, 4))
_RANGES = (997, 991, 983, *range(881, 935, 2))
_ZIPF_STEPS = 99_991


class Case(NamedTuple):
    """One case.

    Attributes
    ----------
    rows : int
        How many, where the command gives no number.
    keys : int
        How many models.
    model : str
        The model text.
    river : str
        The same model for River's loop, with what a model text has by default: a name in ``make_model``.
    features : int
        3 or 30.
    zipf : bool
        Whether keys come as Zipf's law (exponent 1) has it, or all alike.
    late : bool
        Whether labels come from a table of their own, a second after their events.
    parallelism : int
        Of the Flink job.
    textbook : bool
        Whether the operator of the books is measured too; it is slow.
    """

    rows: int = 1_000_000
    keys: int = 1000
    model: str = _LINEAR
    river: str = "linear"
    features: int = 3
    zipf: bool = False
    late: bool = False
    parallelism: int = 1
    textbook: bool = False


CASES = {
    "k1": Case(keys=1),
    "k1000": Case(textbook=True),
    "k100000_zipf": Case(keys=100_000, zipf=True),
    "k100000": Case(keys=100_000),
    "features30": Case(rows=400_000, features=30),
    "hoeffding": Case(300_000, 100, "tree.HoeffdingTreeClassifier()", "hoeffding"),
    "halfspace": Case(600_000, 100, "anomaly.HalfSpaceTrees(seed=42)", "halfspace"),
    "arf10": Case(10_000, 10, "forest.ARFClassifier(n_models=10, seed=42)", "arf10"),
    "late_labels": Case(late=True, rows=600_000),
    "parallel2": Case(parallelism=2),
}


def chosen(names: str | None) -> dict[str, Case]:
    """Return the cases of some names between commas, or all; raises KeyError with the name that is none.

    Examples
    --------
    >>> list(chosen("arf10,k1"))
    ['arf10', 'k1']
    """
    return CASES if not names else {name.strip(): CASES[name.strip()] for name in names.split(",")}


def make_model(case: Case) -> Any:
    """Return the River model of a case, one that has learned nothing."""
    makes = {
        "linear": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        # A model text without a depth has this one.
        "hoeffding": lambda: tree.HoeffdingTreeClassifier(max_depth=12),
        "halfspace": lambda: anomaly.HalfSpaceTrees(seed=42),
        "arf10": lambda: forest.ARFClassifier(n_models=10, seed=42, max_depth=12),
    }
    return makes[case.river]()


def rows_of(case: Case, rows: int) -> Iterator[tuple[str, dict[str, float], bool]]:
    """Yield key, features and label of the first rows, as ``events_sql`` has them."""
    plan = [(f"f{at}", _FACTORS[at], _RANGES[at]) for at in range(case.features)]
    for n in range(rows):
        x = {name: n * factor % size / size for name, factor, size in plan}
        if case.zipf:
            key = int(float(case.keys) ** (n * 7919 % _ZIPF_STEPS / _ZIPF_STEPS))
        else:
            key = n * 7919 % case.keys
        yield str(key), x, x["f0"] + n * 43 % 977 / 977 > 1


def events_sql(case: Case, rows: int) -> list[str]:
    """Return the statements that make the tables ``events`` and, for late labels, ``arrivals``."""
    source = (
        "CREATE TEMPORARY TABLE {name} (n BIGINT{time}) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',"
        f" 'number-of-rows' = '{rows}', 'rows-per-second' = '100000000', 'fields.n.start' = '0',"
        f" 'fields.n.end' = '{rows - 1}')"
    )
    time = ", ts AS TO_TIMESTAMP_LTZ(n{later}, 3), WATERMARK FOR ts AS ts" if case.late else ""
    if case.zipf:
        share = f"CAST(MOD(n * 7919, {_ZIPF_STEPS}) AS DOUBLE) / {_ZIPF_STEPS}.0E0"
        key = f"CAST(FLOOR(POWER({case.keys}.0E0, {share})) AS BIGINT)"
    else:
        key = f"MOD(n * 7919, {case.keys})"
    features = ", ".join(
        f"MOD(n * {_FACTORS[at]}, {_RANGES[at]}) / {_RANGES[at]}.0E0 AS f{at}" for at in range(case.features)
    )
    label = f"MOD(n * {_FACTORS[0]}, {_RANGES[0]}) / {_RANGES[0]}.0E0 + MOD(n * 43, 977) / 977.0E0 > 1 AS y"
    also = "ts" if case.late else label
    statements = [
        source.format(name="numbers", time=time.format(later="")),
        f"CREATE TEMPORARY VIEW events AS SELECT CAST(n AS STRING) AS id, CAST({key} AS STRING) AS k, {features},"
        f" {also} FROM numbers",
    ]
    if case.late:
        statements += [
            source.format(name="outcomes", time=time.format(later=" + 1000")),
            f"CREATE TEMPORARY VIEW arrivals AS SELECT CAST(n AS STRING) AS id, {label}, ts FROM outcomes",
        ]
    return statements


def declaration(case: Case) -> str:
    """Return the model ``m`` of a case, as a user would declare it."""
    inputs = ", ".join(f"f{at} DOUBLE" for at in range(case.features))
    output, options = "y BOOLEAN", "'label' = 'y', 'order' = 'arrival'"
    if case.late:
        options = "'label' = 'y', 'label-table' = 'arrivals', 'label-event-id' = 'id', 'label-timeout' = '1 min'"
    if case.river == "halfspace":
        output, options = "y DOUBLE", "'task' = 'anomaly', 'order' = 'arrival'"
    return (
        f"CREATE MODEL m INPUT ({inputs}) OUTPUT ({output}) WITH ('provider' = 'river', 'model' = '{case.model}',"
        f" 'input-table' = 'events', 'event-id' = 'id', 'key' = 'k', {options})"
    )
