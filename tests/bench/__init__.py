"""Benchmarks: ``python -m tests.bench NAME``; progress on stderr, one JSON object as the last line of stdout."""
