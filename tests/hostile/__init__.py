"""Hostile input: generated records against every decoder, and end to end over the broker. See README.md."""
