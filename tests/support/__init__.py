"""Builders and doubles that several tests share."""
