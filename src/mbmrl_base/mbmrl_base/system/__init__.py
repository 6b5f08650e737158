"""Files, processes and the surroundings that a program runs in."""
