"""Dense networks in machine code: answers, gradients and steps of many rows in one call.

Every sum has one order, whatever the number of rows in a call and whatever the machine: a row is answered alike alone,
in a batch and on the way to being learned. What is summed along a row of weights is summed in four parts, so that an
addition need not wait for the one before it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["run"]


@compiled
def _activate(kind: int, alpha: float, raw: Any, active: Any, at: int, size: int) -> None:
    for j in range(at, at + size):
        z = raw[j]
        if kind == 1:
            active[j] = max(z, np.float32(0))
        elif kind == 2:
            active[j] = z if z >= 0 else np.float32(alpha * z)
        elif kind == 3:
            active[j] = z if z >= 0 else np.float32(alpha * (math.exp(z) - np.float32(1)))
        elif kind == 4:
            active[j] = np.float32(1) / (np.float32(1) + np.float32(math.exp(-z)))
        elif kind == 5:
            active[j] = np.float32(math.tanh(z))
        else:
            active[j] = z


@compiled
def _slope(kind: int, alpha: float, raw: Any, active: Any, back: Any, at: int, size: int) -> None:
    """Turn the gradient of what a layer gives into that of the numbers before its activation."""
    for j in range(at, at + size):
        if kind == 1:
            back[j] = back[j] if raw[j] > 0 else np.float32(0)
        elif kind == 2:
            back[j] = back[j] if raw[j] >= 0 else np.float32(alpha * back[j])
        elif kind == 3:
            back[j] = back[j] if raw[j] >= 0 else np.float32(back[j] * (active[j] + alpha))
        elif kind == 4:
            back[j] = back[j] * (active[j] * (np.float32(1) - active[j]))
        elif kind == 5:
            back[j] = back[j] * (np.float32(1) - active[j] * active[j])


@compiled
def _dot(one: Any, other: Any) -> Any:
    a = b = c = d = np.float32(0)
    size = len(one)
    whole = size - size % 4
    for j in range(0, whole, 4):
        a += one[j] * other[j]
        b += one[j + 1] * other[j + 1]
        c += one[j + 2] * other[j + 2]
        d += one[j + 3] * other[j + 3]
    for j in range(whole, size):
        a += one[j] * other[j]
    return (a + b) + (c + d)


@compiled
def _add(target: Any, factor: Any, source: Any) -> None:
    for j in range(len(target)):
        target[j] += factor * source[j]


@compiled
def _forward(layers: Any, settings: Any, row: Any, raw: Any, active: Any) -> None:
    """Fill in what every layer gives; the first part of ``active`` is the input."""
    start = 0
    for number in range(len(layers)):
        inputs, outputs, weight, bias, turned, kind = layers[number]
        at = start + inputs
        given, found = active[start:at], raw[at : at + outputs]
        for j in range(outputs):
            found[j] = row[bias + j] if bias >= 0 else np.float32(0)
        if turned:
            for j in range(outputs):
                found[j] += _dot(row[weight + j * inputs : weight + (j + 1) * inputs], given)
        else:
            for i in range(inputs):
                if given[i] != 0:
                    _add(found, given[i], row[weight + i * outputs : weight + (i + 1) * outputs])
        _activate(kind, settings[number], raw, active, at, outputs)
        start = at


@compiled
def _backward(layers: Any, settings: Any, row: Any, raw: Any, active: Any, back: Any, gradient: Any, all: bool) -> None:
    """Add a row's gradient; ``back`` holds that of the last layer's numbers, and gets that of all values before."""
    at = len(active)
    for number in range(len(layers) - 1, -1, -1):
        inputs, outputs, weight, bias, turned, kind = layers[number]
        at -= outputs
        _slope(kind, settings[number], raw, active, back, at, outputs)
        given, slopes, before = active[at - inputs : at], back[at : at + outputs], back[at - inputs : at]
        if bias >= 0:
            _add(gradient[bias : bias + outputs], np.float32(1), slopes)
        wanted = number > 0 or all
        if turned:
            for i in range(inputs if wanted else 0):
                before[i] = 0
            for j in range(outputs):
                if slopes[j] != 0:
                    begin, end = weight + j * inputs, weight + (j + 1) * inputs
                    _add(gradient[begin:end], slopes[j], given)
                    if wanted:
                        _add(before, slopes[j], row[begin:end])
        else:
            for i in range(inputs):
                begin, end = weight + i * outputs, weight + (i + 1) * outputs
                if given[i] != 0:
                    _add(gradient[begin:end], given[i], slopes)
                if wanted:
                    before[i] = _dot(row[begin:end], slopes)


@compiled
def _link(kind: int, mask: Any, last: Any, at: int, out: Any) -> None:
    """Give the answer: 0 the numbers as they are, 1 the sigmoid of one, 2 the softmax."""
    width = len(out)
    if kind == 0:
        for j in range(width):
            out[j] = last[at + j]
    elif kind == 1:
        out[0] = np.float32(1) / (np.float32(1) + np.float32(math.exp(-last[at])))
    else:
        most = last[at] + mask[0]
        for j in range(width):
            last[at + j] += mask[j]
            most = max(most, last[at + j])
        total = np.float32(0)
        for j in range(width):
            out[j] = np.float32(math.exp(last[at + j] - most))
            total += out[j]
        for j in range(width):
            out[j] /= total


@compiled
def _lost(kind: int, number: Any, out: Any, target: Any, share: Any, back: Any, at: int) -> None:
    """Give the gradient of the loss by the last layer's numbers: 0 cross-entropy, squared, 1 Huber, 2 quantile."""
    for j in range(len(out)):
        apart = out[j] - target[j]
        if kind == 1:
            apart = min(max(apart, -number), number)
        elif kind == 2:
            apart = np.float32(np.sign(apart)) * np.float32(0.5) + (np.float32(0.5) - number)
        back[at + j] = apart * share


@compiled
def _move(kind: int, w: Any, slots: Any, g: Any, rate: Any, own: Any, step: int) -> None:
    """Move weights as ``neural_optimisers`` does: 0 SGD, 1 momentum, 2 Adam, 3 AdaGrad, 4 FTRL; ``own`` its number."""
    if kind == 0:
        for j in range(len(w)):
            w[j] -= rate * g[j]
        return
    one, two = slots[0], slots[-1]
    if kind == 1:
        for j in range(len(w)):
            one[j] = one[j] * own + g[j]
            w[j] -= rate * one[j]
    elif kind == 2:
        root = math.sqrt(1 - 0.999**step)
        length, least = np.float32(rate * root / (1 - 0.9**step)), np.float32(1e-8 * root)
        for j in range(len(w)):
            one[j] += np.float32(0.1) * (g[j] - one[j])
            two[j] += np.float32(0.001) * (g[j] * g[j] - two[j])
            w[j] -= length * (one[j] / (np.sqrt(two[j]) + least))
    elif kind == 3:
        for j in range(len(w)):
            one[j] += g[j] * g[j]
            w[j] -= rate * (g[j] / (np.sqrt(one[j]) + np.float32(1e-10)))
    else:
        for j in range(len(w)):
            before = np.sqrt(one[j])
            one[j] += g[j] * g[j]
            after = np.sqrt(one[j])
            two[j] += g[j] - (after - before) * (w[j] / rate)
            w[j] = -two[j] / ((np.float32(1) + after) / rate + own)


@compiled
def _gathered(places: Any, start: int, end: int, table: int, back: Any, at: int, width: int, first: Any) -> None:
    """Add up the gradients of rows of a table that are used more than once, where it is used first."""
    size = 4
    while size < 2 * (end - start):
        size *= 2
    owners = np.full(size, -1, np.int64)
    for here in range(end - start):
        place = places[start + here, table]
        slot = (place * 40503) & (size - 1)
        while owners[slot] >= 0 and places[start + owners[slot], table] != place:
            slot = (slot + 1) & (size - 1)
        first[table, here] = owners[slot] < 0
        if owners[slot] < 0:
            owners[slot] = here
        else:
            for i in range(at, at + width):
                back[owners[slot], i] += back[here, i]


@compiled
def run(
    batch: int, layers: Any, tables: Any, codes: Any, settings: Any, numbers: Any, places: Any, targets: Any, out: Any,
    mask: Any, row: Any, pool: Any, slots: Any, pool_slots: Any, decay: Any, rates: Any, step: int,
) -> bool:  # fmt: skip
    """Answer rows and, where ``batch`` is above 0, make a step on the mean loss of each ``batch`` of them.

    Parameters
    ----------
    batch : int
        Rows of a step; 0: nothing is learned.
    layers : ndarray of int64, [layers, 6]
        Inputs, outputs, where weights and biases begin in ``row`` (-1: none), whether weights are [outputs, inputs],
        activation.
    tables : ndarray of int64, [tables, 3]
        Where an embedding table begins in ``pool``, its width, and where its rows go in the first layer's input.
    codes : ndarray of int64, [3]
        Link, loss and optimiser.
    settings : ndarray of float32, [layers + 5]
        A number per activation, then those of loss and optimiser, clip, L2, and the largest sound weight.
    numbers : ndarray of float32, [rows, numbers]
        The first inputs of the first layer; its others come from the tables.
    places : ndarray of int64, [rows, tables]
        Rows of the tables.
    targets, out : ndarray of float32, [rows, width]
        The truth; the answers, given before a step.
    mask : ndarray of float32, [width]
        Is added before a softmax.
    row, pool, decay : ndarray of float32
        Dense weights, tables, and how strongly each dense weight is drawn to zero.
    slots, pool_slots : ndarray of float32, [slots, ...]
        What the optimiser remembers of each.
    rates : ndarray of float32
        Learning rate of each step.
    step : int
        Steps before this call.

    Returns
    -------
    bool
        Whether every row of a table that was moved is sound.
    """
    depth, width = len(layers), out.shape[1]
    number, own, clip, l2, limit = settings[depth:]
    size = layers[0, 0] + layers[:, 1].sum()
    last = size - width
    raw, active = np.zeros(size, np.float32), np.zeros(size, np.float32)
    few = max(batch, 1)
    back = np.zeros((few, size), np.float32)
    first = np.ones((len(tables), few), np.bool_)
    gradient = np.zeros(len(row) if batch else 0, np.float32)
    sound, done = True, 0
    for start in range(0, len(out), few):
        end = min(start + few, len(out))
        share = np.float32(1) / np.float32(end - start)
        for at in range(start, end):
            for j in range(numbers.shape[1]):
                active[j] = numbers[at, j]
            for t in range(len(tables)):
                begin, wide, place = tables[t]
                begin += places[at, t] * wide
                for j in range(wide):
                    active[place + j] = pool[begin + j]
            _forward(layers, settings, row, raw, active)
            _link(codes[0], mask, active, last, out[at])
            if batch:
                _lost(codes[1], number, out[at], targets[at], share, back[at - start], last)
                _backward(layers, settings, row, raw, active, back[at - start], gradient, len(tables) > 0)
        if not batch:
            continue
        for t in range(len(tables) if end - start > 1 else 0):
            _gathered(places, start, end, t, back, tables[t, 2], tables[t, 1], first)
        if l2 > 0:
            for j in range(len(row)):
                gradient[j] += decay[j] * row[j]
        square = _dot(gradient, gradient) if clip > 0 else np.float32(0)
        for t in range(len(tables) if l2 > 0 or clip > 0 else 0):
            begin, wide, place = tables[t]
            for at in range(start, end):
                if first[t, at - start]:
                    part, where = back[at - start, place : place + wide], begin + places[at, t] * wide
                    if l2 > 0:
                        _add(part, l2, pool[where : where + wide])
                    square += _dot(part, part)
        shorter = np.float32(1)
        if clip > 0 and math.sqrt(square) > clip:
            shorter = clip / np.float32(math.sqrt(square))
            for j in range(len(gradient)):
                gradient[j] *= shorter
        rate = np.float32(rates[done])
        done += 1
        step += 1
        _move(codes[2], row, slots, gradient, rate, own, step)
        for j in range(len(gradient)):
            gradient[j] = 0
        for t in range(len(tables)):
            begin, wide, place = tables[t]
            for at in range(start, end):
                if first[t, at - start]:
                    part, where = back[at - start, place : place + wide], begin + places[at, t] * wide
                    for j in range(wide):
                        part[j] *= shorter
                    kept = pool[where : where + wide]
                    _move(codes[2], kept, pool_slots[:, where : where + wide], part, rate, own, step)
                    for j in range(wide):
                        sound = sound and abs(kept[j]) <= limit
    return sound
