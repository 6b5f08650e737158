"""Closed-loop runs without ROS, figures of a run, and pictures of it."""
