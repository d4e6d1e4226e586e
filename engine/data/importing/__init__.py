"""Files of others (CSV, Parquet, feather, raw frames) as canonical tables, and their way into the catalogue.  Offline.

``sources`` opens a file, ``mapping`` finds what its columns mean, ``naming`` what it is about, ``values`` and
``times`` convert, ``reading`` puts these together, ``importer`` stores.  What is wrong with the rows is counted by
``engine.data.defects``.
"""
