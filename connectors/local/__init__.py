"""What the local spot venues share: market and money, faults, connections, the server.  No venue's own words."""
