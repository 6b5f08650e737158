"""What simulator and control share: the robot's contract, the nodes' toolkit, and the system beneath."""
