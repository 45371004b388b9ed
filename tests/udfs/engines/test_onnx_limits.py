"""Model files that are too large, that never end, or that reach beyond their folder."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.onnx_call import load_model
from thalweg.udfs.engines.onnx_reference import read_model


def model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.full((1, 1), 3, dtype=np.float32), "w")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, ["n", 1])],
        [info("y", TensorProto.FLOAT, ["n", 1])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_model(text, (False,))
    return str(caught.value)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = tmp_path / "m.onnx", model().SerializeToString()
    path.write_bytes(data)
    monkeypatch.setenv("THALWEG_MAX_MODEL_BYTES", str(len(data)))
    assert read_model(str(path))[0] == data
    monkeypatch.setenv("THALWEG_MAX_MODEL_BYTES", str(len(data) - 1))
    for text in (str(path), path.as_uri(), f"data:;base64,{base64.b64encode(data).decode()}"):
        assert f"has {len(data)} bytes, and the limit is {len(data) - 1}" in wrong(text)
    monkeypatch.delenv("THALWEG_MAX_MODEL_BYTES")
    os.truncate(path, 2**30 + 1)  # a hole in a file: nothing of it could be read in a moment
    assert "the limit is 1073741824" in wrong(str(path))


@pytest.mark.parametrize("text", ["0", "-1", "1 GB", "1e9"])
def test_a_limit_that_is_no_number_is_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(model().SerializeToString())
    monkeypatch.setenv("THALWEG_MAX_MODEL_BYTES", text)
    assert "environment variable THALWEG_MAX_MODEL_BYTES" in wrong(str(tmp_path / "m.onnx"))


def test_what_never_ends_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    assert "is no regular file" in wrong(str(tmp_path / "m.onnx"))
    assert "is no regular file" in wrong("/dev/zero")
    assert "cannot be read" in wrong(f"{tmp_path}/")


def test_weights_beside_the_model_count_and_come_from_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "model", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    path = folder / "m.onnx"
    onnx.save_model(model(), path, save_as_external_data=True, location="side.bin", size_threshold=0)
    load_model(str(path), (False,))
    monkeypatch.setenv("THALWEG_MAX_MODEL_BYTES", str(path.stat().st_size))
    assert "bytes, and the limit is" in wrong(str(path))
    monkeypatch.delenv("THALWEG_MAX_MODEL_BYTES")
    name = "session.model_external_initializers_file_folder_path"
    assert "would let it read weights from anywhere" in wrong(f"{path}?session-options={name}%3D{other}")
    (folder / "side.bin").rename(other / "side.bin")
    (folder / "side.bin").symlink_to(other / "side.bin")
    assert "outside the model's own folder" in wrong(str(path))
