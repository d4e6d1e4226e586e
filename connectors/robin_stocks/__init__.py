"""Robinhood's private stock and option API through the unofficial client robin_stocks: opt-in, unsupported."""
