"""Spoilt variants of valid bytes: what transports, tools and attackers do to them."""

from __future__ import annotations

import random
from collections.abc import Sequence

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"nan", b"inf", b"-inf", b"null", b"NaN", b"Infinity", b"1e999", b"-1", b"0", b"9" * 30, b"9" * 5000, b"''", b'"',
    b"'", b"`", b"\\", b";", b"--", b"/*", b"*/", b"${", b"}", b"|", b"+", b"(", b")", b"[", b"]", b"{", b",", b":",
    b"=", b"<", b">", b"%", b"\0", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe2\x80\xae", b"\xd9\xa3",
    b"1 ms", b"0 s", b"none", b"true", b"__class__", b"lambda: 0", b"**", b"\n", b"\r\n", b" " * 40, b"1_000", b"0x10",
)  # fmt: skip
_DEEP = (b"[", b"(", b"{", b'{"a":', b"[[", b"-", b"~", b"not ", b"ROW<a ", b"ARRAY<", b"a|", b"a+", b"x(", b"\x0a\x02")
_LARGEST = 1 << 20


def mutate(seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """Return one of ``seeds`` with one to eight changes; the same for the same state of ``pick``."""
    data = bytearray(pick.choice(seeds))
    for _ in range(1 + min(int(pick.expovariate(0.7)), 7)):
        _CHANGES[int(pick.random() ** 1.3 * len(_CHANGES))](data, seeds, pick, words)
    return bytes(data[:_LARGEST])


def _place(data: bytearray, pick: random.Random) -> int:
    return pick.randrange(len(data) + 1)


def _range(data: bytearray, pick: random.Random) -> tuple[int, int]:
    start = _place(data, pick)
    return start, min(len(data), start + pick.choice((1, 2, 4, 8, 16, 64, 256)))


def _flip(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    if data:
        data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)


def _set(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    if data:
        data[pick.randrange(len(data))] = pick.randrange(256)


def _insert_word(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    at = _place(data, pick)
    known = words if words and pick.random() < 0.6 else _WORDS
    end = at if pick.random() < 0.5 else _range(data, pick)[1]
    data[at : max(at, end)] = pick.choice(known)


def _number(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    """Put a number that lies on an edge where a length or a count may be."""
    size, at = pick.choice((1, 2, 4, 8)), _place(data, pick)
    value = (pick.choice(_EDGES) + pick.choice((-1, 0, 0, 1))) % (1 << 8 * size)
    data[at : at + size] = value.to_bytes(size, pick.choice(("big", "little")))


def _varint(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    value, out, at = pick.choice(_EDGES), bytearray(), _place(data, pick)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    data[at : at + pick.choice((0, 1, len(out) + 1))] = bytes(out) + bytes([value])


def _cut(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    start, end = _range(data, pick)
    del data[start : end if pick.random() < 0.7 else len(data)]


def _copy(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    start, end = _range(data, pick)
    at = _place(data, pick)
    data[at:at] = data[start:end] * pick.choice((1, 1, 2, 20))


def _swap(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    start, end = _range(data, pick)
    part = data[start:end]
    del data[start:end]
    at = _place(data, pick)
    data[at:at] = part


def _splice(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    other = pick.choice(seeds)
    data[_place(data, pick) :] = other[pick.randrange(len(other) + 1) :]


def _nest(data: bytearray, seeds: Sequence[bytes], pick: random.Random, words: Sequence[bytes]) -> None:
    at = _place(data, pick)
    data[at:at] = pick.choice(_DEEP) * pick.choice(
        (2, 5, 10, 10, 30, 30, 60, 60, 150, 150, 150, 150, 300, 300, 300, 1200, 1200, 1200, 1200, 30_000)
    )


_CHANGES = (
    _flip, _set, _insert_word, _number, _insert_word, _cut, _copy, _varint, _splice, _swap, _flip, _insert_word, _nest,
)  # fmt: skip
