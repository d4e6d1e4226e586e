"""The FI-2010 benchmark of order books: its files and its protocols.

Not a source of results of record: the data set is at hand to nobody here, and its labels are its own.  Never imported
by the live process.
"""
