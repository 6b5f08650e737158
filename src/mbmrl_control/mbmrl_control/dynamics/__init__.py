"""Learned dynamics: what the model sees and predicts, its network, and its files."""
