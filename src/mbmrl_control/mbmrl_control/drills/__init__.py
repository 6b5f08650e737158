"""Drills: what may go wrong is done to the real stack, and what follows is held against what docs/safety.md says."""
