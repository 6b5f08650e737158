"""Which nodes run, and how they are started."""
