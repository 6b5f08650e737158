"""The control loop, without ROS."""
