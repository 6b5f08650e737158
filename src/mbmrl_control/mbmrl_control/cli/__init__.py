"""The ``mbmrl`` command."""
