"""Any exchange of the ccxt library as a venue.  The library is an optional extra: only ``library`` imports it."""
