"""An engine of a customer's own: a distribution with an entry point, found by its name, held to the protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from learning_store import Store, answers, rows
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines import engine_class
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner
from thalweg.udfs.logic.declaration import declare
from thalweg.udfs.logic.learning import STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

# The least that an engine needs.
ENGINE = '''
import struct
import zlib

from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines.base import NOT_READY, Score

STATE = struct.Struct(">BIQd")


class FadingMean:
    """Predicts the mean of the labels so far, the newer ones weighing more; reads no feature."""

    OPTIONS = ("share",)

    def __init__(self, spec, learned=0, mean=0.0):
        self.spec, self.learned, self.mean = spec, learned, mean
        self.share = float(spec.param("share", "0.1"))

    @classmethod
    def build(cls, spec):
        if problems := spec.problems("fading-mean", cls.OPTIONS):
            raise ConfigError(problems)
        return cls(spec)

    @classmethod
    def restore(cls, spec, blob):
        if len(blob) != STATE.size or blob[0] != 1:
            raise SnapshotError("the snapshot is not one of a fading mean.")
        _, check, learned, mean = STATE.unpack(blob)
        if zlib.crc32(blob[5:] + spec.to_json().encode()) != check:
            raise SnapshotError("the snapshot is damaged, or of another model.")
        return cls(spec, learned, mean)

    @property
    def version(self):
        return str(self.learned)

    def score(self, rows):
        return [self._refused(row) or (Score(self.mean) if self.learned else NOT_READY) for row in rows]

    def _refused(self, row):
        for name, kind in self.spec.inputs:
            value = row.get(name)
            if type(value) not in (int, float) or not abs(value) < float("inf"):
                return Score(None, None, None, "refused", f"feature '{name}' is missing or not a finite number")
        return None

    def learn(self, row, label=None):
        refused = self._refused(row)
        if refused or type(label) not in (int, float) or not abs(label) < float("inf"):
            raise RecordError(refused.reason if refused else f"the label '{self.spec.output.name}' is no finite number")
        self.mean += (label - self.mean) * (self.share if self.learned else 1.0)
        self.learned += 1

    def step(self, row, label=None):
        score = self.score([row])[0]
        self.learn(row, label)
        return score

    def healthy(self):
        return abs(self.mean) < 1e12

    def dump(self):
        rest = STATE.pack(1, 0, self.learned, self.mean)[5:]
        return STATE.pack(1, zlib.crc32(rest + self.spec.to_json().encode()), self.learned, self.mean)
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the distribution as pip would: a module, and beside it what says which entry points it has."""
    (tmp_path / "acme_engines.py").write_text(ENGINE)
    facts = tmp_path / "acme_engines-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-engines\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[thalweg.engines]\nfading-mean = acme_engines:FadingMean\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    engine_class.cache_clear()
    yield
    engine_class.cache_clear()
    sys.modules.pop("acme_engines", None)


def spec() -> EngineSpec:
    return EngineSpec(
        "fading-mean", "regression", "mean", (Field("x", "number"),), Field("y", "number"), (("share", "0.5"),)
    )


@pytest.mark.usefixtures("installed")
def test_an_engine_of_a_customers_own_keeps_the_protocol() -> None:
    check_learner(spec(), [({"x": float(n)}, float(n % 5)) for n in range(40)])


@pytest.mark.usefixtures("installed")
def test_an_engine_of_a_customers_own_learns_where_rivers_do() -> None:
    options = {"provider": "fading-mean", "model": "mean", "input-table": "t", "event-id": "id", "label": "y"}
    declared = declare("m", [("x", "DOUBLE")], [("y", "DOUBLE")], {**options, "share": "0.5"}, ("share",), True)
    assert declared.spec == spec()
    logic = LearningLogic(declared.spec, Policy(Every(2, None), 1 << 20))
    store = Store(through_bytes=True)
    outcome = logic.on_rows(rows(*((STEP, "k", f"e{n}", n, n, float(n), 1.0) for n in range(4))), store)
    assert [answer[1] for answer in answers(outcome)] == [None, 0.0, 0.5, 1.25]
    assert [published.learned for published in outcome.published] == [2, 4]


def test_without_its_distribution_there_is_no_such_engine() -> None:
    with pytest.raises(ConfigError, match=r"provider 'fading-mean'.*no such engine.*Known: .*river"):
        engine_class("fading-mean")
