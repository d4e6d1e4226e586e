"""Sessions of the daemon's core and of the Coinbase connector on a model of the venue, in virtual time."""
