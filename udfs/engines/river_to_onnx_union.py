"""Several branches of features as one frame, as River's union merges their dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.udfs.engines.river_to_onnx_frame import Column, Frame, OneHot, Text, refuse

__all__ = ["joined", "one_name"]


def joined(frame: Frame, branches: Sequence[Frame]) -> Frame:
    """Return the features of all branches; of two with one name, the one of the first branch that has it.

    Raises
    ------
    ConfigError
        Two branches give one name to features that ONNX cannot choose between, row by row.
    """
    columns: dict[str, Column] = {}
    texts: dict[str, Text] = {}
    one_hots: list[OneHot] = []
    for branch in branches:
        for name, column in branch.columns.items():
            columns[name] = _first(frame, name, columns[name], column) if name in columns else column
        for name, text in branch.texts.items():
            if texts.setdefault(name, text) != text:
                raise _twice(name)
        for group in branch.one_hots:
            same = [at for at, other in enumerate(one_hots) if other[:3] == group[:3]]
            if same:
                zeros = dict.fromkeys((*one_hots[same[0]].zeros, *group.zeros))
                one_hots[same[0]] = group._replace(zeros=tuple(zeros))
            else:
                one_hots.append(group)
    for name in columns:
        if name in texts:
            raise _twice(name)
    some = any(branch.open for branch in branches)
    return one_name(Frame(frame.graph, columns, texts, tuple(one_hots), some))


def one_name(frame: Frame) -> Frame:
    """Return the frame, with the rows refused in which a value would give two features one name.

    Raises
    ------
    ConfigError
        Two one-hot encoded features whose names begin alike.
    """
    graph = frame.graph
    for at, group in enumerate(frame.one_hots):
        for other in frame.one_hots[at + 1 :]:
            if _may_meet(group, other):
                names = " and ".join(repr(one.before.rstrip("_")) for one in (group, other))
                what = f"features {names} can get one name, since one name begins with the other."
                raise refuse("step OneHotEncoder", what, "Rename one of the columns in SQL.")
        for name in (*frame.columns, *frame.texts):
            value = group.value_of(name)
            if value is None:
                continue
            code, known = frame.code(group.source, [value], as_text=True)
            if known:
                graph.refused.append(graph.node("Greater", code, graph.number(0)))
    return frame


def _may_meet(one: OneHot, other: OneHot) -> bool:
    """Return whether some values could give one name: both ends of the names would have to fit."""
    before = one.before.startswith(other.before) or other.before.startswith(one.before)
    return before and (one.after.endswith(other.after) or other.after.endswith(one.after))


def _first(frame: Frame, name: str, first: Column, second: Column) -> Column:
    if first == second:
        return first
    if first.kind != second.kind:
        raise _twice(name)
    graph = frame.graph
    value, present = frame.gather([first])
    other, there = frame.gather([second])
    merged = graph.node("Where", present, value, other)
    return frame.block([name], merged, graph.node("Or", present, there), [first.kind])[name]


def _twice(name: str) -> Exception:
    what = f"two branches give the feature '{name}', of different kinds."
    return refuse("step TransformerUnion", what, "Select the features of each branch.")
