"""Market data as files: recorded ones as the engine's own events, and the catalogue that stores them.

No clock, no network.
"""
