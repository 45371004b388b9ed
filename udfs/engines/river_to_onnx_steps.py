"""River's transformers as tensors: each takes a frame and gives the frame that the next step sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from river import compose, preprocessing, stats
from thalweg.udfs.engines.river_to_onnx_frame import Column, Frame, OneHot, Text, refuse
from thalweg.udfs.engines.river_to_onnx_union import joined, one_name

__all__ = ["TRANSFORMERS", "transform"]

_TYPES: dict[str, type] = {"number": float, "integer": int, "boolean": bool}
_RESULTS: dict[Any, str] = {float: "number", int: "integer", bool: "boolean"}


def transform(frame: Frame, step: Any, in_union: bool = False) -> Frame:
    """Return what a transformer makes of a frame.

    Parameters
    ----------
    frame : Frame
        What it is given.
    step : object
        A River transformer of a type in ``TRANSFORMERS``, a pipeline or a union of such.
    in_union : bool
        Whether other branches are given the same rows.

    Raises
    ------
    ConfigError
        The step has no exact counterpart in ONNX.
    """
    if isinstance(step, compose.Pipeline):
        for part in step.steps.values():
            frame = transform(frame, part, in_union)
        return frame
    if isinstance(step, compose.TransformerUnion):
        return joined(frame, [transform(frame, part, True) for part in step.transformers.values()])
    if in_union and type(step) is compose.Renamer:
        what = "renames the features of the other branches of its union as well."
        raise refuse("step Renamer", what, "Rename before the union.")
    return TRANSFORMERS[type(step)](frame, step)


def _numbers_only(frame: Frame, step: Any, one_hots: bool = False) -> None:
    where = f"step {type(step).__name__}"
    if frame.texts:
        what = f"is given texts ({', '.join(frame.texts)}), on which River fails."
        raise refuse(where, what, "Select the numbers for it: compose.SelectType(float) | ...")
    if frame.one_hots and not one_hots:
        what = "is given what a one-hot encoder makes, whose features are not known beforehand."
        raise refuse(where, what, "Put it before the encoder, in a branch of its own.")


def _closed(frame: Frame, known: Mapping[Any, Any]) -> Frame:
    """Return the frame with one-hot features as columns: those that a scaler has learned. It scales others to 0."""
    columns = dict(frame.columns)
    for group in frame.one_hots:
        values = dict.fromkeys(group.zeros)
        values.update(dict.fromkeys(value for name in known if (value := group.value_of(name)) is not None))
        free = [value for value in values if group.name_of(value) not in frame.columns]
        if free:
            columns.update(frame.expand(group, free))
    return frame.but(columns=columns, one_hots=(), open=frame.open or bool(frame.one_hots))


def _scaled(frame: Frame, shift: list[float] | None, divisor: list[float] | None) -> Frame:
    """Return ``(x - shift) / divisor``, and 0 where the divisor is 0."""
    if not frame.columns:
        return frame
    graph = frame.graph
    value, present = frame.gather(list(frame.columns.values()))
    if shift is not None and any(shift):
        value = graph.node("Sub", value, graph.const([shift]))
    if divisor is not None:
        value = graph.node("Div", value, graph.const([[size or 1.0 for size in divisor]]))
        if not all(divisor):
            flat = graph.const([[not size for size in divisor]], bool)
            value = graph.node("Where", flat, graph.number(0), value)
    return frame.but(columns=frame.block(frame.columns, value, present, ["number"] * len(frame.columns)))


def _standard(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step, one_hots=True)
    frame = _closed(frame, step.means)
    deviations = [step.vars.get(name, 0.0) ** 0.5 for name in frame.columns]
    return _scaled(frame, [step.means.get(name, 0.0) for name in frame.columns], deviations if step.with_std else None)


def _min_max(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step, one_hots=True)
    frame = _closed(frame, step.min)
    low = [step.min.get(name, stats.Min()).get() for name in frame.columns]
    high = [step.max.get(name, stats.Max()).get() for name in frame.columns]
    return _scaled(frame, low, [top - bottom for bottom, top in zip(low, high, strict=True)])


def _max_abs(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step, one_hots=True)
    frame = _closed(frame, step.abs_max)
    return _scaled(frame, None, [step.abs_max.get(name, stats.AbsMax()).get() for name in frame.columns])


def _robust(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step)
    medians = [step.median[name].get() if name in step.median else None for name in frame.columns]
    ranges = [step.iqr[name].get() if name in step.iqr else None for name in frame.columns]
    unknown = [col for col, median in zip(frame.columns.values(), medians, strict=True) if median is None]
    if step.with_centering and unknown:  # River cannot subtract what it has not learned
        _, present = frame.gather(unknown)
        there = frame.graph.row_sum(frame.graph.node("Cast", present, to=11))
        frame.graph.refused.append(frame.graph.node("Greater", there, frame.graph.number(0)))
    shift = [median or 0.0 for median in medians] if step.with_centering else None
    return _scaled(frame, shift, [size or 0.0 for size in ranges] if step.with_scaling else None)


def _adaptive(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step, one_hots=True)
    frame = _closed(frame, step.means)
    new = stats.EWMean(step.fading_factor).get(), stats.EWVar(step.fading_factor).get()
    means = [step.means[name].get() if name in step.means else new[0] for name in frame.columns]
    variances = [step.vars[name].get() if name in step.vars else new[1] for name in frame.columns]
    return _scaled(frame, means, [max(variance, 0.0) ** 0.5 for variance in variances])


def _normalizer(frame: Frame, step: Any) -> Frame:
    _numbers_only(frame, step)
    graph, columns = frame.graph, list(frame.columns.values())
    if step.order not in (1, 2, float("inf")):
        raise refuse("step Normalizer", f"has the order {step.order}.", "Use the order 1 or 2.")
    if not columns:
        return frame
    value, present = frame.gather(columns)
    size = graph.node("Where", present, graph.node("Abs", value), graph.number(0))
    if step.order == 2:
        norm = graph.node("Sqrt", graph.row_sum(graph.node("Mul", size, size)))
    else:
        norm = graph.row_sum(size) if step.order == 1 else graph.node("ReduceMax", size, axes=[1], keepdims=1)
    # River divides by the norm even where it is 0, and fails.
    there = graph.row_sum(graph.node("Cast", present, to=11))
    some = graph.node("GreaterOrEqual" if step.order == float("inf") else "Greater", there, graph.number(0))
    graph.refused.append(graph.node("And", some, graph.node("Equal", norm, graph.number(0))))
    scaled = graph.node("Div", value, norm)
    return frame.but(columns=frame.block(frame.columns, scaled, present, ["number"] * len(columns)))


def _binarizer(frame: Frame, step: Any) -> Frame:
    if step.dtype not in _RESULTS or frame.one_hots:
        what = "makes something else than numbers and booleans of plain features."
        raise refuse("step Binarizer", what, "Use dtype=bool, int or float, before any encoder.")
    if not frame.columns:
        return frame
    graph = frame.graph
    value, present = frame.gather(list(frame.columns.values()))
    above = graph.node("Cast", graph.node("Greater", value, graph.number(float(step.threshold))), to=11)
    kinds = [_RESULTS[step.dtype]] * len(frame.columns)
    return frame.but(columns=frame.block(frame.columns, above, present, kinds))


def _one_hot(frame: Frame, step: Any) -> Frame:
    where = "step OneHotEncoder"
    if step.drop_first or frame.one_hots:
        what = "has drop_first" if step.drop_first else "is given what another one-hot encoder makes"
        raise refuse(where, f"{what}, so that nobody can say which features it gives.", "Leave that out.")
    broken = [name for name, column in frame.columns.items() if column.kind == "number"]
    if broken:
        what = f"is given broken numbers ({', '.join(broken)}), each of which has a feature of its own."
        raise refuse(where, what, "Select the texts for it: compose.SelectType(str) | ...")
    found: dict[str, Column | Text] = {**frame.columns, **frame.texts}
    groups = [
        OneHot(source, f"{name}_", "", () if step.drop_zeros else tuple(map(str, step.values.get(name, ()))))
        for name, source in found.items()
    ]
    return one_name(frame.but(columns={}, texts={}, one_hots=tuple(groups)))


def _ordinal(frame: Frame, step: Any) -> Frame:
    if frame.one_hots:
        _numbers_only(frame.but(texts={}), step)
    graph = frame.graph
    columns: dict[str, Column] = {}
    found: dict[str, Column | Text] = {**frame.columns, **frame.texts}
    for name, source in found.items():
        numbers = step.categories.get(name, {})
        code, known = frame.code(source, list(numbers))
        places = graph.node("Cast", graph.node("Max", code, graph.number(0)), to=6)
        unknown = step.unknown_value
        table = graph.const([0 if unknown is None else unknown, *(numbers[value] for value in known)])
        value = graph.node("Gather", table, places)
        if unknown is None:  # River hands None to the next step, which fails
            graph.refused.append(graph.node("Equal", code, graph.number(0)))
        present = graph.node("GreaterOrEqual", code, graph.number(0))
        columns.update(frame.block([name], value, present, ["integer"]))
    return frame.but(columns=columns, texts={})


def _stat_imputer(frame: Frame, step: Any) -> Frame:
    """Nothing is imputed: a feature that is missing is not there, which is a KeyError to River, and never None."""
    _need(frame, step.stats, step)
    return frame


def _select(frame: Frame, step: Any) -> Frame:
    found = _need(frame, step.keys, step)
    columns = {name: one for name, one in found.items() if isinstance(one, Column)}
    texts = {name: one for name, one in found.items() if isinstance(one, Text)}
    return frame.but(columns=columns, texts=texts, one_hots=(), open=False)


def _need(frame: Frame, names: Any, step: Any) -> dict[str, Column | Text]:
    """Return features by name; a row that lacks one of them is refused."""
    found = {name: frame.find(name) for name in names}
    lacking = [str(name) for name, one in found.items() if one is None]
    if lacking:
        what = f"asks for features that nothing gives: {', '.join(lacking)}."
        raise refuse(f"step {type(step).__name__}", what, "Correct the names in the model text.")
    known = {name: one for name, one in found.items() if one is not None}
    columns = [one for one in known.values() if isinstance(one, Column)]
    if columns:
        frame.graph.refused.append(frame.missing_any(columns))
    frame.graph.refused.extend(
        frame.graph.node("Not", one.present) for one in known.values() if isinstance(one, Text) and one.present
    )
    return known


def _discard(frame: Frame, step: Any) -> Frame:
    _no_one_hot(frame, step, step.keys)
    columns = {name: one for name, one in frame.columns.items() if name not in step.keys}
    return frame.but(columns=columns, texts={name: one for name, one in frame.texts.items() if name not in step.keys})


def _no_one_hot(frame: Frame, step: Any, names: Any) -> None:
    hit = [name for name in names for group in frame.one_hots if group.value_of(name) is not None]
    if hit:
        what = f"names what a one-hot encoder makes: {', '.join(hit)}."
        raise refuse(f"step {type(step).__name__}", what, "Put it before the encoder.")


def _select_type(frame: Frame, step: Any) -> Frame:
    columns = {name: one for name, one in frame.columns.items() if issubclass(_TYPES[one.kind], step.types)}
    texts = frame.texts if issubclass(str, step.types) else {}
    return frame.but(columns=columns, texts=texts, one_hots=frame.one_hots if issubclass(int, step.types) else ())


def _affixed(frame: Frame, step: Any) -> Frame:
    before, after = getattr(step, "prefix", ""), getattr(step, "suffix", "")
    groups = [one._replace(before=before + one.before, after=one.after + after) for one in frame.one_hots]
    columns = {f"{before}{name}{after}": one for name, one in frame.columns.items()}
    texts = {f"{before}{name}{after}": one for name, one in frame.texts.items()}
    return frame.but(columns=columns, texts=texts, one_hots=tuple(groups))


def _renamer(frame: Frame, step: Any) -> Frame:
    _no_one_hot(frame, step, [*step.mapping, *step.mapping.values()])
    for old, new in step.mapping.items():
        one = frame.find(old)
        if one is None or old == new:
            continue
        rest = frame.but(
            columns={name: col for name, col in frame.columns.items() if name != old},
            texts={name: text for name, text in frame.texts.items() if name != old},
        )
        renamed = {new: one}
        alone = frame.but(
            columns={name: col for name, col in renamed.items() if isinstance(col, Column)},
            texts={name: text for name, text in renamed.items() if isinstance(text, Text)},
            one_hots=(),
        )
        frame = joined(frame, [alone, rest])
    return frame


TRANSFORMERS: Mapping[type, Callable[[Frame, Any], Frame]] = {
    preprocessing.StandardScaler: _standard,
    preprocessing.MinMaxScaler: _min_max,
    preprocessing.MaxAbsScaler: _max_abs,
    preprocessing.RobustScaler: _robust,
    preprocessing.AdaptiveStandardScaler: _adaptive,
    preprocessing.Normalizer: _normalizer,
    preprocessing.Binarizer: _binarizer,
    preprocessing.OneHotEncoder: _one_hot,
    preprocessing.OrdinalEncoder: _ordinal,
    preprocessing.PreviousImputer: lambda frame, step: frame,
    preprocessing.StatImputer: _stat_imputer,
    compose.Select: _select,
    compose.Discard: _discard,
    compose.SelectType: _select_type,
    compose.Prefixer: _affixed,
    compose.Suffixer: _affixed,
    compose.Renamer: _renamer,
}
"""The transformers that have an exact counterpart, by type."""
