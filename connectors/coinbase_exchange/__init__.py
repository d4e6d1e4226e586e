"""Coinbase Exchange (before: Coinbase Pro): market data of recordings; Advanced Trade is ``connectors.coinbase``."""
