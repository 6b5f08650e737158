"""What the robot is to do: paths to follow and the cost of leaving them."""
