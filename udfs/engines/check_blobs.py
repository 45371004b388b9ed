"""The part of the conformance suite that hands an engine bad bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from thalweg.connector.errors import SnapshotError

__all__ = ["broken_by_blobs"]

_PLACES = 48
_DEEPEST = 64  # a pickle that is hidden behind a header begins within so many bytes
_sprung: list[str] = []


def _spring() -> None:
    _sprung.append("sprung")


class _Trap:
    """Runs ``_spring`` when it is unpickled by a reader that runs what it names."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _spring, ()


def broken_by_blobs(restore: Callable[[bytes], Any], blob: bytes) -> Iterator[str]:
    """Yield what is wrong with how ``restore`` takes old, cut, damaged and hostile variants of ``blob``.

    Parameters
    ----------
    restore : callable
        From bytes to a model; must raise SnapshotError for all bytes that ``dump`` did not write.
    blob : bytes
        What ``dump`` wrote.
    """
    for first in {0, blob[0] ^ 1, 255} - {blob[0]}:
        yield from _must_refuse(restore, bytes([first]) + blob[1:], f"a blob of protocol {first}")
    step = max(1, len(blob) // _PLACES)
    for end in {0, 1, len(blob) - 1, *range(0, len(blob), step)} - {len(blob)}:
        yield from _must_refuse(restore, blob[:end], f"a blob cut to {end} of {len(blob)} bytes")
    yield from _must_refuse(restore, blob + b"\0", "a blob with a byte too many")
    for at in range(0, len(blob), step):
        damaged = blob[:at] + bytes([blob[at] ^ 16]) + blob[at + 1 :]
        try:
            restore(damaged)
        except SnapshotError:
            pass
        except Exception as error:
            yield f"restore raises {type(error).__name__} for a blob with a flipped bit at {at}, not SnapshotError"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        evil = pickle.dumps(_Trap(), protocol)
        for keep in range(min(_DEEPEST, len(blob))):
            yield from _must_refuse(restore, blob[:keep] + evil, f"a pickle that runs code, after {keep} bytes")
            sized = blob[:keep] + len(evil).to_bytes(4, "big") + evil
            yield from _must_refuse(restore, sized, f"a pickle that runs code, after {keep} bytes and its length")


def _must_refuse(restore: Callable[[bytes], Any], blob: bytes, what: str) -> Iterator[str]:
    _sprung.clear()
    try:
        restore(blob)
    except SnapshotError:
        pass
    except Exception as error:
        yield f"restore raises {type(error).__name__} for {what}, not SnapshotError"
    else:
        yield f"restore accepts {what}"
    if _sprung:
        yield f"restore runs code for {what}"
