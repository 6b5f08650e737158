"""Simulated robots in PyBullet, with faults."""
