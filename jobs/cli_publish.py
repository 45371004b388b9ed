"""``thalweg models publish``: a file is loaded, measured and tried here before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.model_facts import common_options, facts_of, open_models
from thalweg.jobs.output import print_json
from thalweg.jobs.signing_options import signing_option

if TYPE_CHECKING:
    from thalweg.udfs.engines.onnx_reference import ModelReference
    from thalweg.udfs.engines.onnx_session import SessionSettings

__all__ = ["check_onnx", "publish"]

_number = click.IntRange(min=1)


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", default="", help="A text for people.")
@click.option("--no-serve", is_flag=True, help="Publish only. The first version of a model serves in any case.")
@click.option("--auc-threshold", type=click.FloatRange(0, 1), help="Gate: the AUC that it has to reach.")
@click.option(
    "--log-loss-threshold",
    type=click.FloatRange(min=0, min_open=True),
    help="Gate: the log loss that it has to stay below.",
)
@click.option("--num-eval-samples", type=_number, help="Gate: on how many rows it must have been measured at least.")
@click.option(
    "--evaluate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of labelled rows to measure AUC and log loss on: features in the order of the model, and the label.",
)
@click.option("--label", default="label", show_default=True, help="The column of the label in that file.")
@click.option(
    "--golden",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file of rows that travel with the model, features in its order: a worker that answers them otherwise than"
    " this machine refuses it.",
)
@click.option("--golden-score", metavar="COLUMN", help="The column with the score that the training library predicts.")
@click.option("--golden-label", metavar="COLUMN", help="The column with the label that the training library predicts.")
@click.option("--golden-rows", type=_number, default=50, show_default=True, help="How many rows of that file to take.")
@click.option(
    "--golden-tolerance",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="How far a number may be from the one it should be; above 1, as a share of it.",
)
@click.option(
    "--options",
    default="",
    metavar="NAME=VALUE&...",
    help="How the model is loaded and read for all this, as after ? in a call, such as output=probabilities.",
)
@click.option("--allow-new-inputs", is_flag=True, help="Gate: it may take other inputs than the version before.")
@click.option("--by-reference", is_flag=True, help="Send where the file lies and its checksum, not the file.")
@signing_option
@common_options
def publish(
    name: str,
    file: Path,
    note: str,
    no_serve: bool,
    by_reference: bool,
    evaluate: Path | None,
    label: str,
    golden: Path | None,
    golden_score: str | None,
    golden_label: str | None,
    golden_rows: int,
    golden_tolerance: float,
    options: str,
    topic: str,
    brokers: str,
    as_json: bool,
    **gate: float | int | bool | None,
) -> None:
    """Publish FILE, an ONNX model, as the next version of NAME, and let it serve.

    The file is loaded first, so that what cannot be served is not sent. A topic that does not exist is made.

    \b
    Example:
      thalweg models publish delay delay.onnx --evaluate june.csv --label late --auc-threshold 0.8
      thalweg models publish delay delay.onnx --golden rows.csv --golden-score predicted
      thalweg models publish delay /models/delay.onnx --by-reference --no-serve
    """
    from thalweg.connector.models import check_name
    from thalweg.udfs.engines.onnx_reference import parse_reference

    check_name(name)
    data = _read(file)
    reference = parse_reference(f"{name}?{options}")
    check_onnx(data, f"file {file}", reference.settings)
    given = {option.replace("_", "-"): value for option, value in gate.items() if value is not None}
    if not given["allow-new-inputs"]:
        del given["allow-new-inputs"]
    metrics = _measured(data, reference, evaluate, label, given, file)
    kept = None
    if golden is not None:
        from thalweg.jobs.model_evaluation import golden_from_file

        kept = golden_from_file(
            data, reference, golden, golden_rows, score=golden_score, label=golden_label, tolerance=golden_tolerance
        )
    elif golden_score or golden_label:
        what = "says what is expected of golden rows, and there are none."
        raise ConfigError([Problem("option '--golden-score' or '--golden-label'", what, "Give them with --golden.")])
    target = open_models(brokers, topic)
    target.create()
    uri = file.resolve().as_uri() if by_reference else None
    version = target.publish(
        name, data, file=file.name, note=note, gate=given, metrics=metrics, golden=kept, uri=uri, serve=not no_serve
    )
    state = target.models()[name]
    if as_json:
        print_json(facts_of(version, state))
    else:
        serves = "it serves" if state.serving == version.version else f"version {state.serving} serves"
        click.echo(f"{name}: version {version.version} is published ({version.size} bytes), {serves}.")


def check_onnx(data: bytes, where: str, settings: SessionSettings | None = None) -> dict[str, Any]:
    """Load an ONNX model as the engine does, and return what it takes and gives.

    Parameters
    ----------
    data : bytes
        The file.
    where : str
        What to call it in an error.
    settings : SessionSettings, optional
        How the session is to run.

    Returns
    -------
    dict
        ``inputs`` and ``outputs``: lists of dicts with ``name``, ``type`` and ``shape``, a list in which a size that
        is not fixed is its name or None.

    Raises
    ------
    ConfigError
        It is no ONNX model, the runtime cannot load it, or its weights are in other files.
    """
    from thalweg.udfs.engines.onnx_session import OnnxSession

    session = OnnxSession(data, where, settings)
    sides = {"inputs": session.inputs, "outputs": session.outputs}
    return {
        side: [{"name": node.name, "type": node.type, "shape": list(node.shape)} for node in nodes]
        for side, nodes in sides.items()
    }


def _measured(
    data: bytes, reference: ModelReference, rows: Path | None, label: str, gate: dict[str, Any], file: Path
) -> dict[str, float]:
    """Return what is measured on the rows; raises ConfigError where the gate would refuse it."""
    from thalweg.udfs.logic.model_gate import threshold_objections

    metrics = {}
    if rows is not None:
        from thalweg.jobs.model_evaluation import evaluate_file

        metrics = evaluate_file(data, reference, rows, label)
    against = threshold_objections(gate, metrics)
    if against:
        raise ConfigError(
            [Problem(f"file {file}", f"{why}.", "Train it longer, or lower the bound.") for why in against]
        )
    return metrics


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror})."
        raise ConfigError([Problem(f"file {file}", what, "Check the path and its permissions.")]) from error
