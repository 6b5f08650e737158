"""The real robot on a serial line: codecs, link, pose and state, and an emulated other side; without ROS."""
