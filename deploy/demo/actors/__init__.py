"""Everybody outside Nervure: channel, payment provider, locations, tills, carrier, returns desk, supplier, product data, fraud check.

Each is a reference adapter to copy: it reads and writes topics, and knows nothing else of Nervure. Choices are seeded; days are seconds.
"""
