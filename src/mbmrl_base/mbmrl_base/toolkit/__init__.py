"""What all nodes are made of."""
