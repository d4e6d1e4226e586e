"""The registry: versions of bundles that never change, and which of them stands for what.

A folder is the truth: ``versions/NAME/SHA12/`` (a bundle each), ``standings/*.json`` (a file for each scope, replaced
in one step), ``audit.jsonl`` (who changed what, when and why).  ``index.sqlite`` can be made again from them.

The live process reads it (``models.registry.champions``) and never writes.
"""
