"""Tests: unit, contract, integration, flow; what they share is in support."""
