"""Bitstamp: market data of recordings."""
