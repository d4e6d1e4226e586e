"""A local server that speaks what robin_stocks speaks: stocks, funds, options and the old coins.

Pure parts (account, desk, options, login, api) are given their time; ``rest`` and ``server`` are the shell around them.
"""
