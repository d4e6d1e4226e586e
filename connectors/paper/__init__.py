"""Paper trading in process: real market data outside, our own matching inside."""
