"""The legged millirobot (Nagabandi, Clavera et al., ICLR 2019, section 6.2)."""
