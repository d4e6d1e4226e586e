"""A local Coinbase Advanced Trade: real matching behind the venue's own protocol, on loopback.

``server.serve`` starts one inside a running loop, ``server.run`` is the process.  Nothing here is used against the real
venue.
"""
