"""The data engineer's way in: ``attach(t_env)`` gives a table program its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment, Table
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines import build, engine_class
from thalweg.udfs.flink.comparison_flow import build_comparison
from thalweg.udfs.flink.flow import Built, build_flow
from thalweg.udfs.flink.program_models import ModelTables, create_model
from thalweg.udfs.flink.shared_security import with_table_security
from thalweg.udfs.flink.tables import Declared, TableReader, read_model
from thalweg.udfs.logic.compare_declaration import CompareDeclaration, arm_names, arm_role, declare_comparison
from thalweg.udfs.logic.declaration import Declaration, declare

__all__ = ["Models", "attach"]

_COMPARE = "compare"  # the provider of a model that compares others
_CACHES = ("python.state.cache-size", "python.map-state.read-cache-size", "python.map-state.write-cache-size")


def attach(t_env: StreamTableEnvironment) -> Models:
    """Return the models of a table program, in which all SQL functions of Thalweg can be called from now on.

    Parameters
    ----------
    t_env : StreamTableEnvironment
        A streaming table environment in Python's process mode, which is Flink's default.

    Raises
    ------
    ConfigError
        The environment is in thread mode, where Flink serialises a model on every access, or has no cache for state.
    """
    config, problems = t_env.get_config(), []
    mode = config.get("python.execution-mode", "process")
    if mode != "process":
        what = f"is '{mode}': models would be serialised on every access, and rows of arrays come out wrong."
        problems.append(Problem("option 'python.execution-mode'", what, "Set it to 'process'."))
    for option in _CACHES:
        # What is changed in place is then never written back: cleared lists come again.
        if config.get(option, "1").strip("0") == "":
            problems.append(
                Problem(f"option '{option}'", "is 0, and PyFlink loses changes of state so.", "Give at least 1.")
            )
    if problems:
        raise ConfigError(problems)
    functions = import_module("thalweg.udfs.sql")  # by its name: it stands above this layer
    known = set(t_env.list_user_defined_functions())
    for name in functions.__all__:
        if name not in known:
            t_env.create_temporary_system_function(name, getattr(functions, name))
    return Models(t_env)


class Models:
    """Turns declared models into views: ``<model>_predictions``, ``_metrics``, ``_snapshots``, ``_alerts``, ..."""

    def __init__(self, t_env: StreamTableEnvironment) -> None:
        self._t_env = t_env
        self._reader = TableReader(t_env)
        self._built: set[str] = set()
        self._declared: dict[str, Declaration | None] = {}
        self._flows: dict[str, Built] = {}

    def build(self, names: Iterable[str]) -> None:
        """Create the views of models that ``CREATE MODEL`` declared; those that exist already are left alone.

        Raises
        ------
        ConfigError
            Lists everything that is wrong with any of them, not only the first.
        """
        problems: list[Problem] = []
        found = self._read([name for name in names if name not in self._built], problems)
        compared = {name: declared for name, declared in found.items() if declared.options.get("provider") == _COMPARE}
        sound = self._declare({name: found[name] for name in found if name not in compared}, problems)
        comparisons: list[CompareDeclaration] = []
        for name, declared in compared.items():
            models = {arm: self._declared[arm] for arm in arm_names(declared.options) if arm in self._declared}
            try:
                comparisons.append(declare_comparison(name, declared.outputs, declared.options, models, self._known()))
            except ConfigError as error:
                problems += error.problems
        for name, declaration in sound.items():
            try:
                role = arm_role(name, comparisons)
                declaration = with_table_security(self._t_env, declaration)
                self._flows[name] = build_flow(self._t_env, declaration, self._reader, role)
            except ConfigError as error:
                problems += error.problems
        for comparison in comparisons:
            if not problems:
                try:
                    build_comparison(self._t_env, comparison, self._flows, self._reader)
                except ConfigError as error:
                    problems += error.problems
        if problems:
            raise ConfigError(dict.fromkeys(problems))
        self._built.update(found)

    def declaration(self, name: str) -> Declaration:
        """Return what ``CREATE MODEL`` declared of a model that compares no others, checked; raises like ``build``."""
        return _declaration(name, read_model(self._t_env, name))

    def _known(self) -> set[str]:
        return {*self._t_env.list_models(), *self._t_env.list_temporary_models()}

    def _read(self, names: Iterable[str], problems: list[Problem]) -> dict[str, Declared]:
        """Return the models as they are declared, and those that they compare."""
        found: dict[str, Declared] = {}
        waiting = list(names)
        for name in waiting:
            if name in found or name in self._built:
                continue
            try:
                found[name] = declared = read_model(self._t_env, name)
            except ConfigError as error:
                problems += error.problems
                continue
            if declared.options.get("provider") == _COMPARE:
                waiting += [arm for arm in arm_names(declared.options) if arm in self._known()]
        return found

    def _declare(self, models: Mapping[str, Declared], problems: list[Problem]) -> dict[str, Declaration]:
        """Return what can be held against the tables; what is wrong goes into ``problems``."""
        sound: dict[str, Declaration] = {}
        for name, declared in models.items():
            self._declared[name] = None
            try:
                sound[name] = self._declared[name] = _declaration(name, declared)
            except ConfigError as error:
                problems += error.problems
                # Without its misspelt options the rest can still be held against the tables, in the same run.
                strange = {p.where.partition("option ")[2].strip("'") for p in error.problems if "unknown" in p.what}
                kept = {option: text for option, text in declared.options.items() if option not in strange}
                with suppress(ConfigError):
                    sound[name] = _declaration(name, declared._replace(options=kept))
        return sound

    def learn(
        self,
        name: str,
        events: Table | DataStream,
        *,
        model: str,
        features: Sequence[str],
        output: str,
        event_id: str,
        labels: Table | DataStream | None = None,
        provider: str = "river",
        **options: object,
    ) -> ModelTables:
        """Declare a model on tables or streams of the program, and return its output.

        Parameters
        ----------
        name : str
            Name of the model; its views are ``<name>_predictions`` and so on.
        events : Table or DataStream
            One row per event. A DataStream of ``Row`` with named fields brings its timestamps and watermarks
            (``assign_timestamps_and_watermarks``); one without them needs ``order="arrival"``.
        model : str
            The model text, or for the provider ``onnx`` the file.
        features : sequence of str
            Columns of the events that the model reads, in its order.
        output : str
            What is predicted: the column with the truth, of the labels if there are any, else of the events; for a
            model without labels a name and a type, such as ``"risk DOUBLE"``.
        event_id : str
            Column that names an event, in the events and the labels.
        labels : Table or DataStream, optional
            One row per label.
        provider : str
            The engine.
        **options
            Further options of ``CREATE MODEL``, with underscores: ``label_timeout="12 h"``, ``key="carrier"``.

        Raises
        ------
        ConfigError
            Lists everything that is wrong, not only the first.
        """
        given = {"provider": provider, "model": model, "event_id": event_id, **options}
        create_model(self._t_env, name, events, features, output, labels, given)
        return self.tables(name)

    def tables(self, name: str) -> ModelTables:
        """Return the views of a declared model as tables to go on with; raises like ``build``."""
        self.build([name])
        there = set(self._t_env.list_temporary_views())
        views = [f"{name}_{table}" for table in ModelTables._fields]
        return ModelTables(*(self._t_env.from_path(view) if view in there else None for view in views))


def _declaration(name: str, declared: Declared) -> Declaration:
    kind = declared.options.get("provider", "")
    if not kind:
        raise ConfigError(
            [Problem(f"model {name}, option 'provider'", "is missing.", "Name an engine, such as 'river'.")]
        )
    try:
        engine = engine_class(kind)
    except ConfigError as error:
        raise ConfigError(p._replace(where=f"model {name}, option 'provider'") for p in error.problems) from error
    options: Iterable[str] = getattr(engine, "OPTIONS", ())
    declaration = declare(
        name, declared.inputs, declared.outputs, declared.options, tuple(options), hasattr(engine, "learn")
    )
    try:
        build(declaration.spec)
    except ConfigError as error:
        raise ConfigError(p._replace(where=f"model {name}, {p.where}") for p in error.problems) from error
    return declaration
