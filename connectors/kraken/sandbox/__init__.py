"""A local server of Kraken spot's protocol, good enough that third-party clients of that venue work against it."""
