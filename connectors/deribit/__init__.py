"""Deribit: market data of recordings."""
