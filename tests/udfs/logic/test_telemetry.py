"""The figures behind the metrics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.telemetry import METRICS, Latency, prometheus_name, version_number


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 50)), max_size=200), st.sampled_from([0.5, 0.99, 1.0]))
def test_a_quantile_of_latency_is_that_of_the_rows_of_the_newest_blocks(
    blocks: list[tuple[int, int]], share: float
) -> None:
    latency = Latency()
    for taken, rows in blocks:
        latency.add(taken, rows)
    waited = sorted(taken // 1000 for taken, rows in blocks[-128:] for _ in range(rows))
    found = latency.quantile(share)
    if not waited:
        assert found == 0
        return
    assert found in waited
    at_most = sum(value <= found for value in waited)
    below = sum(value < found for value in waited)
    assert at_most >= share * len(waited) >= below


@given(st.text())
def test_a_version_is_a_whole_number_that_a_double_can_tell(text: str) -> None:
    number = version_number(text)
    assert 0 <= number < 1 << 53
    assert int(float(number)) == number


def test_names_are_unique_where_prometheus_reads_them() -> None:
    names = [prometheus_name(name) for name in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.kind in ("counter", "gauge") and metric.meaning.endswith(".") for metric in METRICS.values())
