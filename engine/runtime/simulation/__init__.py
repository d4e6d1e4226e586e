"""The daemon under virtual time: an event loop without clock and sockets, a journal without threads, checks, a sweep.

What stands for the venue and for the network between is ``connectors.simulation``; ``run.py`` joins the two.  The
design is ``docs/simulation.md``.
"""
