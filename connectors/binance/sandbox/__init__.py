"""A local server of Binance's protocol, good enough that third-party clients of that venue work against it."""
