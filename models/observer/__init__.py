"""Watching models while they serve: shadows, matured labels, drift, skew, and the rules that follow from them.

All of it runs in a process of its own that follows the journal (``engine.runtime.journal_tail``): what fails here costs
the session nothing.  It changes what serves only by requests to the daemon and by the registry.
"""
