"""Model predictive control with a learned model."""
