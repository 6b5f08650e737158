"""The line to a robot."""
