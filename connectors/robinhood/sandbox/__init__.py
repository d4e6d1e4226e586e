"""A local Robinhood crypto venue: the official trading API, v1 and v2, with signed requests and real matching.

``server.serve`` starts one; ``commands`` is its command line.  The private API for stocks and options is not here.
"""
