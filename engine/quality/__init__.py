"""Is a market event fit to be believed?  The same judge for live events and for stored rows.

``kernel`` has the rules, ``layout`` and ``windows`` the record they work on, ``compiled`` the compiled entries,
``gate`` what callers use; ``verdicts`` names what can be found, ``tolerances`` how much is borne, ``report`` counts it.
"""
