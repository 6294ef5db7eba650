"""The demo: real retail baskets as orders, actors around Nervure that only use topics, and a report.

baskets     one year of a real grocer         world, purchases, places   what it becomes: orders, locations, stock
actors      the outside, as reference adapters   desk, wire, dice, shelves   what actors work with
demo        the run                           tally, progress, report    what became of it
"""
