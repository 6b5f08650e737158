"""A page in the browser that shows the robot, and what its model and its planner expect, as it walks."""
