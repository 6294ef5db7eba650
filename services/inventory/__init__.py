"""Inventory decides who gets which unit, what each inventory level holds, and when a reservation ends.

Reads    stock reports of locations, commands of sourcing, the stock effects of fulfilment and of returns: all keyed by location
Writes   reservations, inventory events, and the availability of every level as versioned state

A level (sku, location) has one writer and one row. What others may rely on is a reservation, never a view. Facts are booked as they
come, late ones and contradictory ones too; what a fact leaves without goods is shorted in a step of its own, due at once.
"""
