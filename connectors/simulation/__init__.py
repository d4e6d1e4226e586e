"""The outside of a simulated daemon: a network in memory, the Coinbase sandbox on it, and the faults of both.

Driven by an event loop whose time is virtual; which one is the caller's business.
"""
