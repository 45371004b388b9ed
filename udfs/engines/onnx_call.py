"""A model as a SQL call uses it: columns of arguments in, columns of answers out, a reason for each row without one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_answers import Answers, Reading, read_outputs
from thalweg.udfs.engines.onnx_arguments import Arguments
from thalweg.udfs.engines.onnx_reference import ModelReference, parse_reference, read_model
from thalweg.udfs.engines.onnx_session import OnnxSession, SessionSettings
from thalweg.udfs.engines.onnx_vocabulary import Vocabulary

__all__ = ["Batch", "LoadedModel", "load_model"]

_sessions: WeakValueDictionary[tuple[str, SessionSettings, str | None], OnnxSession] = WeakValueDictionary()
_WARM_UP_ROWS = 2


class Batch(NamedTuple):
    """The answers of a model for the rows of one call.

    Attributes
    ----------
    size : int
        Number of rows.
    parts : list of (ndarray or None, Answers)
        Which rows, None for all, and what the model gave for them.
    faults : dict of int to str
        Why a row has no answer, by its place.
    unseen : int
        How many texts the encoders of the model do not know, where they can be read; 0 where they cannot.
    """

    size: int
    parts: list[tuple[Any, Answers]]
    faults: dict[int, str]
    unseen: int = 0

    def scores(self) -> Any:
        """Return one number per row as float64, NaN where there is none; raises ConfigError if it gives no number."""
        out = np.full(self.size, np.nan)
        for rows, answers in self.parts:
            faults: dict[int, str] = {}
            found = answers.scores(faults)
            if rows is None:
                out = found
            else:
                out[rows] = found
            self._note(rows, faults)
        return out

    def labels(self) -> list[str | None]:
        """Return the label of each row, None where there is none; raises ConfigError if the model gives no label."""
        return self._spread(lambda answers, faults: answers.labels())

    def vectors(self) -> list[list[float] | None]:
        """Return the numbers of each row, None where there are none; raises ConfigError if the model gives none."""
        return self._spread(lambda answers, faults: answers.vectors(faults))

    def probabilities(self) -> list[dict[str, float] | None]:
        """Return each row's probabilities by class, or None; raises ConfigError if the model gives none."""
        return self._spread(lambda answers, faults: answers.probabilities(faults))

    def check(self) -> None:
        """Note the rows whose answer is not finite, or no probability, whatever the model gives."""
        for what, take in (("probabilities", self.probabilities), ("scores", self.scores)):
            if self.parts and all(part.gives(what) for _, part in self.parts):
                take()
                return
        if self.parts and all(part.gives("vectors") for _, part in self.parts):
            self.vectors()

    def _spread(self, take: Any) -> list[Any]:
        out: list[Any] = [None] * self.size
        for rows, answers in self.parts:
            faults: dict[int, str] = {}
            found = take(answers, faults)
            if rows is None and not faults:
                return list(found)
            places = range(self.size) if rows is None else rows.tolist()
            for at, (place, item) in enumerate(zip(places, found, strict=True)):
                if at not in faults:
                    out[place] = item
            self._note(rows, faults)
        return out

    def _note(self, rows: Any, faults: dict[int, str]) -> None:
        self.faults.update((at if rows is None else int(rows[at]), reason) for at, reason in faults.items())


class LoadedModel:
    """A model that is ready to answer calls of one shape.

    Parameters
    ----------
    reference : ModelReference
        How the call names it.
    data : bytes
        The model.
    folder : str or None
        Where its file lies, for weights in other files.
    vectors : sequence of bool
        Per feature of the call, whether it is an array.
    version : str, optional
        Name of the version; default: the first 12 digits of the model's SHA-256.

    Attributes
    ----------
    model_id, version : str
        For the predictions.

    Raises
    ------
    ConfigError
        The model cannot be loaded, is not the one that ``sha256`` names, or does not take such arguments.
    """

    def __init__(
        self,
        reference: ModelReference,
        data: bytes,
        folder: str | None,
        vectors: Sequence[bool],
        version: str | None = None,
    ) -> None:
        digest = hashlib.sha256(data).hexdigest()
        wanted = reference.options["sha256"] or digest
        if wanted != digest:
            what = f"the model's bytes hash to {digest}."
            raise ConfigError(
                [Problem(f"{reference.where}, option 'sha256'", what, "Deploy the right file, or correct the option.")]
            )
        self.model_id, self.version = reference.model, version or digest[:12]
        self.session = _session(data, digest, reference, folder)
        self._reference, self._names = reference, _chosen(self.session, reference)
        self._arguments = Arguments(self.session.inputs, vectors, reference.options, reference.where)
        self._vocabulary = Vocabulary(self.session.graph, self.session.inputs)
        self._reading: Reading | None = None
        self._warm_up()

    def run(self, arguments: Sequence[Any], count: int) -> Batch:
        """Return the answers for columns of arguments, each an array or one plain value that stands for a column."""
        fed = self._arguments.feeds(arguments, count)
        batch = Batch(count, [], fed.faults, self._vocabulary.unseen(fed.arrays))
        if fed.size:
            self._ask(fed.arrays, fed.kept, fed.size, batch)
        return batch

    def _ask(self, feeds: dict[str, Any], rows: Any, count: int, batch: Batch) -> None:
        """Score some rows; where one of them fails inside the model, halve until it fails alone."""
        try:
            answers = self._answers(feeds, count)
        except ConfigError:
            raise
        except Exception as error:
            rows = np.arange(count) if rows is None else rows
            if count == 1:
                batch.faults[int(rows[0])] = f"the model cannot score this row ({error})"[:500]
                return
            middle = count // 2
            for part in (slice(0, middle), slice(middle, count)):
                some = {name: array[part] for name, array in feeds.items()}
                self._ask(some, rows[part], len(rows[part]), batch)
        else:
            batch.parts.append((rows, answers))

    def _answers(self, feeds: dict[str, Any], count: int) -> Answers:
        if self._reading is not None:
            return self._reading.answers(self.session.run(self._reading.names, feeds, count), count)
        raw = self.session.run(self._names, feeds, count)
        graph, where = self.session.graph, self._reference.where
        self._reading = read_outputs(self._names, raw, graph, self._reference.options, where)
        found = dict(zip(self._names, raw, strict=True))
        return self._reading.answers([found[name] for name in self._reading.names], count)

    def _warm_up(self) -> None:
        """Run two made-up rows, so that the first real one does not wait and the outputs are known."""
        made = self._arguments.made_up(_WARM_UP_ROWS)
        try:
            self._answers(made, _WARM_UP_ROWS)
        except ConfigError:
            raise
        except Exception:  # such as an encoder that knows no empty text: the first real rows tell then
            self._reading = None


def load_model(text: str, vectors: Sequence[bool]) -> LoadedModel:
    """Return the model that a reference by path or URI names; raises ConfigError."""
    reference = parse_reference(text)
    data, folder = read_model(reference.model)
    return LoadedModel(reference, data, folder, vectors)


def _session(data: bytes, digest: str, reference: ModelReference, folder: str | None) -> OnnxSession:
    """Return the one session of this process for a model and its settings."""
    key = (digest, reference.settings, folder)
    found = _sessions.get(key)
    if found is None:
        found = _sessions[key] = OnnxSession(data, reference.where, reference.settings, folder)
    return found


def _chosen(session: OnnxSession, reference: ModelReference) -> list[str]:
    known = [node.name for node in session.outputs]
    wanted = reference.options["output"]
    problems = [
        Problem(f"{reference.where}, option 'output'", f"there is no output '{name}'.", f"It has: {', '.join(known)}.")
        for name in wanted
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    return [name for name in known if not wanted or name in wanted]
