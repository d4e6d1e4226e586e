"""Recorded market data as the engine's own events.  Pure: reads files it is given, no clock, no network."""
