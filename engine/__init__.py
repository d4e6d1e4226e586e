"""The vocabulary and the deterministic core of Kestrel.

Everything directly in this package is pure: no asyncio, no clocks, no randomness, no network.  Those live in
``engine.runtime``, which ``run.py`` alone imports.
"""
