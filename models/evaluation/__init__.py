"""What a trained network is worth: scores with intervals, baselines on the same rows, and one report a run.

Never imported by the live process.  ``evaluate`` is the order of the steps; ``ledger`` and ``run_folder`` keep the test
rows shut until a line says that they were opened.
"""
