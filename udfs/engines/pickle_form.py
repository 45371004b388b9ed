"""The form of a pickled model, shared by its writer and its reader.

A model is: the length of the pickle (4 bytes, big-endian), the pickle, then buffers, each with its length before it.
What plain pickle writes ambiguously stands in the pickle as a list that begins with one of the tags below.
"""

from __future__ import annotations

import re
import struct

__all__ = ["DTYPES", "INLINE", "LENGTH", "WORDS"]

TUPLE, SET, FROZENSET, BYTES, TEXT, ARRAY, SCALAR, RANDOM, STATE, DTYPE, METHOD, ORDERED = range(12)

INLINE = 255
"""Bytes; a longer text would need an opcode whose length the audit cannot check in one pass."""

LENGTH = struct.Struct(">I")
"""Before the pickle and before each buffer."""

WORDS = struct.Struct("<625I")
"""The state of a Mersenne twister: its 624 words and its position."""

DTYPES = re.compile(r"[<>|](?:b1|[iu][1248]|f[248]|[SU]\d{1,6})\Z")
"""Types of arrays that models hold."""
