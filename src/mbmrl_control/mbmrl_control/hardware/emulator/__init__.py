"""An emulated robot at the other end of a serial line."""
