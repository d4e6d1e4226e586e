"""A local OANDA v20 server: accounts, margin, trades, streams, and the faults that a connector has to survive.

Clients of the real venue work against it unmodified.  ``server.serve`` starts one; ``commands`` is its command line.
"""
