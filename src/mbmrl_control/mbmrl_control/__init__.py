"""Meta-learned dynamics models that adapt online, and model predictive control with them."""
