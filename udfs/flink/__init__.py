"""Thin adapters to PyFlink: the only pyflink imports of ``udfs``."""
