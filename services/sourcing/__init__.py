"""Sourcing decides which location fulfils which lines of an order and when.

It splits, waits, sources again, gives up, and says what is promised.

Reads      order events, reservations, inventory events (stock that arrives), fulfilment events; views of availability and reference data
Publishes  inventory commands, sourcing decisions
"""
