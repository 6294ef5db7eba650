"""The deterministic simulation: whole services on the ports in memory, a seeded scheduler, faults on purpose; see README.md."""
