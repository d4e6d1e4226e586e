"""Kraken spot and futures: market data of recordings."""
