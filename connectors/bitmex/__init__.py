"""BitMEX: market data of recordings."""
