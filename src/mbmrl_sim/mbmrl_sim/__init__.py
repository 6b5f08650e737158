"""A six-legged millirobot in PyBullet that can lose legs."""
