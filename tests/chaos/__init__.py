"""Chaos on the real thing: broker, database and service processes are injured under an order load; everything is checked afterwards."""
