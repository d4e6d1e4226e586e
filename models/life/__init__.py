"""A model's way into a running daemon: who should serve by the registry is checked, opened beside what serves, offered.

Nothing here decides about orders.  What is ready reaches the core as ``engine.events.ModelOffered``; the core swaps
between two events.  What may not serve is told and left out, and whoever serves goes on.
"""
