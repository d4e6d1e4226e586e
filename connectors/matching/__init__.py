"""The matching model: one price-time priority engine under the sandboxes and under paper trading on real feeds."""
