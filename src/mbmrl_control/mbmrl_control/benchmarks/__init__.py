"""Speeds on this machine, against what users would pick instead; all in one run, taken in turns."""
