"""A local server of Binance spot's protocol, good enough that third-party clients of that venue work against it."""
