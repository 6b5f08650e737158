"""Following a path."""
