"""The pure parts of the benchmarks of inference and latency: what they make of what they measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bench.bench_inference import MODELS, Turn, features, make_model, read_marks, steady_rate
from bench.bench_inference import figures as inference_figures
from bench.bench_latency import RUNS, percentile, sent_us, summary
from bench.bench_latency import figures as latency_figures


def test_the_rate_is_that_of_the_marks_after_the_first_third() -> None:
    slow_start = [(0, 100.0), (10, 150.0), (20, 190.0)]
    steady = [(30 + 10 * n, 200.0 + n) for n in range(6)]
    assert steady_rate(list(reversed(slow_start + steady))) == pytest.approx(10.0)


def test_marks_that_came_at_once_are_no_rate() -> None:
    with pytest.raises(ValueError, match="take more rows"):
        steady_rate([(n, 5.0) for n in range(9)])


def test_marks_are_read_from_the_finished_files(tmp_path: Path) -> None:
    (tmp_path / "part-0-0").write_text("0,1500\n10,2500\n")
    (tmp_path / "part-0-1").write_text("20,3500\n")
    (tmp_path / ".part-0-2.inprogress").write_text("30,")
    assert sorted(read_marks(tmp_path)) == [(0, 1.5), (10, 2.5), (20, 3.5)]


def test_ratios_are_those_within_a_turn() -> None:
    # The machine was half as fast in the second turn, and the ratios are the same.
    turns = [Turn(800.0, 40.0, 1000.0, 1600.0), Turn(400.0, 20.0, 500.0, 800.0), Turn(800.0, 40.0, 1000.0, 1600.0)]
    found = inference_figures({name: turns for name in MODELS})
    for prefix in ("", *(f"{name}." for name in MODELS)):
        assert found[f"{prefix}events_per_s"] == 800
        assert found[f"{prefix}vs_row_udf"] == 20.0
        assert found[f"{prefix}vs_noop_udf"] == 0.8
        assert found[f"{prefix}vs_raw_runtime"] == 0.5


def test_the_figures_without_a_name_are_the_first_models() -> None:
    found = inference_figures({"mlp": [Turn(8.0, 1.0, 8.0, 8.0)], "trees": [Turn(4.0, 2.0, 1.0, 1.0)]})
    assert (found["vs_row_udf"], found["mlp.vs_row_udf"], found["trees.vs_row_udf"]) == (8.0, 8.0, 2.0)


def test_a_model_takes_the_features_and_tells_two_classes_apart() -> None:
    session = onnxruntime.InferenceSession(make_model("trees"), providers=["CPUExecutionProvider"])
    rows = features(MODELS["trees"], 500)
    label, shares = session.run(None, {session.get_inputs()[0].name: rows})
    assert shares.shape == (500, 2)
    assert np.mean(label == (rows.mean(axis=1) > 0.5)) > 0.9


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_one_bad_second_moves_the_percentile_and_not_the_typical_one() -> None:
    quiet = [(second + n / 100, 0.02) for second in range(9) for n in range(100)]
    found = summary([*quiet, *((9 + n / 100, 0.5) for n in range(100))])
    assert found == {"p50_ms": 20.0, "p99_ms": 500.0, "typical_p99_ms": 20.0, "stall_ms": 490.0}


def test_the_keys_of_the_latencies() -> None:
    took = {"latency": 0.01, "throughput": 0.1}
    runs = {(job, profile): [(0.0, took[profile]), (0.2, took[profile])] for job, profile in RUNS}
    found = latency_figures([(0.0, 0.001)], runs)
    assert (found["p50_ms"], found["p99_ms"]) == (10.0, 10.0)
    assert (found["throughput.p50_ms"], found["throughput.p99_ms"]) == (100.0, 100.0)
    assert (found["learning.p50_ms"], found["learning.p99_ms"]) == (10.0, 10.0)
    assert (found["learning.throughput.p50_ms"], found["learning.throughput.p99_ms"]) == (100.0, 100.0)
    assert (found["swap.stall_ms"], found["stall_ms"]) == (200.0, 200.0)
    assert (found["broker.p50_ms"], found["broker.p99_ms"]) == (1.0, 1.0)


def test_the_time_of_sending_is_in_the_id() -> None:
    assert sent_us(b'{"id": "1700000000000001-7", "score": 0.5}') == 1_700_000_000_000_001
