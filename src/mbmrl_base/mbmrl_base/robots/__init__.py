"""Robots: what their states and actions are, and what a model of them sees and predicts."""
