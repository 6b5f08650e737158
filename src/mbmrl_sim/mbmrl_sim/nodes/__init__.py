"""ROS 2 nodes; they only wire."""
