"""Robots that speak ROS already: which of their topics are states and actions, and how these are sampled."""
