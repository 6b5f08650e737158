"""Fixtures of the tests of mbmrl_base."""

from __future__ import annotations

import hypothesis

from robot_testing import random_states
from ros_testing import domain, log_folder, peer, start_simulator

__all__ = ["domain", "log_folder", "peer", "random_states", "start_simulator"]

# The same examples each time, however long they take.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")
