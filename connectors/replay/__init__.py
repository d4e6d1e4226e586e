"""Recorded market data played as if it were a venue."""
