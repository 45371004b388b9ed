"""Times where nothing has happened yet."""

__all__ = ["NEVER"]

NEVER = -(1 << 63)
"""No such time, where a time is epoch ms."""
