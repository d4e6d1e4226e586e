"""Binance spot and USD-M futures: market data, natively.  Orders go through the connector for many exchanges."""
