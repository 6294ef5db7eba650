"""Benchmarks: measured, printed, never asserted. `make bench`, `make bench QUICK=1`."""
