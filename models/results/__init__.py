"""The results of record: what is run for them, what is kept of it, and the pages that are made of what is kept."""
