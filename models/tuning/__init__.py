"""The search for settings of a training run: ``run.py tune``.  It sees training and validation rows; a test stays shut.

Offline; nothing of it is loaded by the live process.
"""
