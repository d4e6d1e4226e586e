"""Offline training: data to bundle.  Needs the extra ``train``; the live process never imports it."""
