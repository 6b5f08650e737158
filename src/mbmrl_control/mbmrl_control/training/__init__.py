"""Collecting data in the simulator and training priors on it."""
