"""The simulated millirobot."""
