"""Networks exported by PyTorch and Keras, and what these frameworks make of them by training: golden files for a test.

Needs torch and onnxscript, or with ``keras`` tensorflow and tf2onnx, in an environment of their own: none of them is
needed by Thalweg or its tests. The files were written with the versions that stand in them.

    python tests/golden/make_neural.py torch tests/golden/neural
    python tests/golden/make_neural.py keras tests/golden/neural
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, BATCH, STEPS = 24, 8, 6
DICE = np.random.default_rng(11)
NUMBERS = DICE.normal(size=(ROWS, 4)).astype(np.float32)
SIGNAL = DICE.normal(size=(ROWS, 12)).astype(np.float32)
IMAGE = DICE.normal(size=(ROWS, 64)).astype(np.float32)
PLACES = DICE.integers(0, 5, ROWS)
EVENT = (NUMBERS[:, 0] + NUMBERS[:, 1] > 0).astype(np.int64)
CLASS = np.digitize(NUMBERS[:, 0], [-0.5, 0.5])
AMOUNT = (NUMBERS[:, 0] * 2 - NUMBERS[:, 2]).astype(np.float32)


def written(folder: Path, name: str, data: bytes, case: dict[str, Any]) -> None:
    """Write one network, and beside it what was learned of it."""
    (folder / f"{name}.onnx").write_bytes(data)
    text = json.dumps(case, indent=None, sort_keys=True, separators=(",", ":"))
    (folder / f"{name}.json").write_text(text + "\n")


def plain(array: Any) -> Any:
    """Return numbers of float32 as short as they can be read back."""
    found = np.asarray(array)
    if found.ndim:
        return [plain(part) for part in found]
    return float(np.format_float_positional(found, unique=True)) if found.dtype.kind == "f" else int(found)


def torch_cases(folder: Path) -> None:
    """Write the cases of PyTorch."""
    import io

    import torch
    from torch import nn

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.Embedding(5, 3), nn.Linear(7, 3)

        def forward(self, numbers: Any, place: Any) -> Any:
            joined = torch.cat([numbers, self.table(place)], dim=1)
            return torch.log_softmax(self.last(joined), dim=1)

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.1, -0.2, 0.3, 0.0]))
            self.register_buffer("spread", torch.tensor([1.5, 0.7, 1.0, 2.0]))
            self.left, self.right = nn.Parameter(torch.randn(4, 6) * 0.5), nn.Parameter(torch.randn(3, 1) * 0.5)
            self.bias, self.scale = nn.Parameter(torch.randn(6) * 0.1), nn.Parameter(torch.rand(6) + 0.5)

        def forward(self, x: Any) -> Any:
            h = torch.tanh(((x - self.mean) / self.spread) @ self.left + self.bias) * self.scale
            return h.reshape(-1, 2, 3).mean(dim=1) @ self.right

    def seeded(make: Callable[[], Any]) -> Any:
        torch.manual_seed(3)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        return model.eval()

    def pinball(found: Any, truth: Any) -> Any:
        apart = truth - found
        return torch.maximum(0.8 * apart, -0.2 * apart).mean()

    x, event = torch.tensor(NUMBERS), torch.tensor(EVENT, dtype=torch.float32)[:, None]
    signal, image = torch.tensor(SIGNAL).reshape(-1, 1, 12), torch.tensor(IMAGE).reshape(-1, 1, 8, 8)
    classes, amount = torch.tensor(CLASS), torch.tensor(AMOUNT)[:, None]
    binary, numbers = ("classification", "boolean"), ("regression", "number")
    many = ("classification", "integer")

    def sequence(*layers: Any) -> Callable[[], Any]:
        return lambda: nn.Sequential(*layers_of(layers))

    def layers_of(layers: Any) -> list[Any]:
        return [make() for make in layers]

    def half_square(found: Any, truth: Any) -> Any:
        return nn.functional.mse_loss(found, truth) / 2

    linear = lambda *sizes: lambda: nn.Linear(*sizes)  # noqa: E731
    conv_1 = sequence(
        lambda: nn.Conv1d(1, 3, 3, padding=1), nn.ReLU, lambda: nn.MaxPool1d(2), lambda: nn.BatchNorm1d(3),
        lambda: nn.Conv1d(3, 2, 2), nn.Tanh, lambda: nn.AvgPool1d(2), nn.Flatten, linear(4, 1),
    )  # fmt: skip
    conv_2 = sequence(
        lambda: nn.Conv2d(1, 4, 3, padding=1, stride=2), nn.ELU, lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.ReLU, lambda: nn.MaxPool2d(2), lambda: nn.AvgPool2d(2), nn.Flatten, linear(4, 3), lambda: nn.Softmax(dim=1),
    )  # fmt: skip
    dense = sequence(
        linear(4, 6), nn.ReLU, lambda: nn.Dropout(0.5), linear(6, 5), lambda: nn.BatchNorm1d(5), nn.LeakyReLU,
        linear(5, 1), nn.Sigmoid,
    )  # fmt: skip
    normed = sequence(
        linear(4, 6), nn.ELU, lambda: nn.LayerNorm(6), linear(6, 5), nn.Tanh, linear(5, 3), lambda: nn.Softmax(dim=1)
    )
    chain = sequence(linear(4, 8), nn.ReLU, linear(8, 4), nn.LeakyReLU, linear(4, 1))
    likely = lambda p, y: nn.functional.nll_loss(torch.log(p), y)  # noqa: E731
    sgd = lambda p: torch.optim.SGD(p, lr=0.1)  # noqa: E731
    cases: list[tuple[str, Any, Any, Any, Any, tuple[str, str], dict[str, str], Any, bool]] = [
        ("torch_dense", dense, (x,), event, nn.functional.binary_cross_entropy, binary, {}, sgd, False),
        ("torch_normed", normed, (x,), classes, likely, many, {}, sgd, True),
        ("torch_embedding", Embedded, (x, torch.tensor(PLACES)), classes, nn.functional.nll_loss, many,
         {"optimiser": "adagrad"}, lambda p: torch.optim.Adagrad(p, lr=0.1), False),
        ("torch_conv1d", conv_1, (signal,), amount, half_square, numbers, {"optimiser": "momentum"},
         lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), False),
        ("torch_conv2d", conv_2, (image,), classes, likely, many, {"optimiser": "adam"},
         lambda p: torch.optim.Adam(p, lr=0.1), True),
        ("torch_sums", Sums, (x,), amount, lambda a, b: nn.functional.huber_loss(a, b, delta=0.7), numbers,
         {"loss": "huber(0.7)"}, sgd, False),
        ("torch_chain", chain, (x,), amount, pinball, numbers,
         {"loss": "quantile(0.8)", "optimiser": "adam"}, lambda p: torch.optim.Adam(p, lr=0.1), False),
    ]  # fmt: skip
    for name, make, inputs, truth, loss, (task, output), params, optimiser, dynamo in cases:
        model = seeded(make)
        names = ["numbers", "place"] if len(inputs) > 1 else ["x"]
        at = io.BytesIO()
        if dynamo:
            shapes = {each: {0: torch.export.Dim("n")} for each in names}
            program = torch.onnx.export(
                model, inputs, dynamo=True, input_names=names, output_names=["y"], opset_version=18,
                dynamic_shapes=tuple(shapes.values()), verbose=False,
            )  # fmt: skip
            at.write(program.model_proto.SerializeToString())
        else:
            torch.onnx.export(
                model, inputs, at, dynamo=False, input_names=names, output_names=["y"], opset_version=17,
                dynamic_axes={each: {0: "n"} for each in [*names, "y"]}, do_constant_folding=False,
            )  # fmt: skip
        before = model(*inputs)
        steps = optimiser(model.parameters())
        for step in range(STEPS):
            part = slice(step * BATCH % ROWS, step * BATCH % ROWS + BATCH)
            steps.zero_grad()
            loss(model(*(each[part] for each in inputs)), truth[part]).backward()
            steps.step()
        written(folder, name, at.getvalue(), {
            "source": f"PyTorch {torch.__version__}", "exporter": "dynamo" if dynamo else "TorchScript",
            "task": task, "output": output, "params": {"learning-rate": "0.1", **params},
            "inputs": {each: plain(value.reshape(ROWS, -1)) for each, value in zip(names, inputs, strict=True)},
            "labels": plain(truth.reshape(-1)), "batch": BATCH, "steps": STEPS,
            "before": plain(before.detach()), "after": plain(model(*inputs).detach()),
            "weights": {key: plain(value.detach()) for key, value in model.named_parameters()},
        })  # fmt: skip


def keras_cases(folder: Path) -> None:
    """Write the cases of Keras on TensorFlow."""
    import tempfile

    import keras
    import tensorflow as tf

    layers = keras.layers
    keras.utils.set_random_seed(3)
    some = {"bias_initializer": "random_normal"}  # the exporter leaves biases of zero out
    dense = keras.Sequential([
        layers.Input((4,)), layers.Dense(6, "relu", **some), layers.Dropout(0.5), layers.Dense(5, "tanh", **some),
        layers.Dense(3, "softmax", **some),
    ])  # fmt: skip
    conv = keras.Sequential([
        layers.Input((12, 1)), layers.Conv1D(3, 3, padding="same", activation="relu", **some), layers.MaxPooling1D(2),
        layers.Conv1D(2, 2, activation="elu", **some), layers.GlobalAveragePooling1D(),
        layers.Dense(1, "sigmoid", **some),
    ])  # fmt: skip
    few = keras.losses.SparseCategoricalCrossentropy()
    two = keras.losses.BinaryCrossentropy()
    cases: list[tuple[str, Any, Any, Any, Any, str]] = [
        ("keras_dense", dense, NUMBERS, CLASS, few, "integer"),
        ("keras_conv1d", conv, SIGNAL[:, :, None], EVENT[:, None].astype(np.float32), two, "boolean"),
    ]
    for name, model, inputs, truth, loss, output in cases:
        before = model(inputs, training=False)
        with tempfile.TemporaryDirectory() as place:
            model.export(f"{place}/m.onnx", format="onnx", verbose=False)
            data = Path(f"{place}/m.onnx").read_bytes()
        steps = keras.optimizers.SGD(0.1)
        for step in range(STEPS):
            part = slice(step * BATCH % ROWS, step * BATCH % ROWS + BATCH)
            with tf.GradientTape() as tape:
                lost = loss(truth[part], model(inputs[part], training=False))
            steps.apply(tape.gradient(lost, model.trainable_variables), model.trainable_variables)
        written(folder, name, data, {
            "source": f"Keras {keras.__version__} on TensorFlow {tf.__version__}", "exporter": "model.export",
            "task": "classification", "output": output, "params": {"learning-rate": "0.1"},
            "inputs": {"x": plain(inputs.reshape(ROWS, -1))}, "labels": plain(truth.reshape(-1)),
            "batch": BATCH, "steps": STEPS, "before": plain(before.numpy()),
            "after": plain(model(inputs, training=False).numpy()), "weights": {},
        })  # fmt: skip


if __name__ == "__main__":
    {"torch": torch_cases, "keras": keras_cases}[sys.argv[1]](Path(sys.argv[2]))
