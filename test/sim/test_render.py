"""Pictures of the robot without a screen."""

from __future__ import annotations

import numpy as np

from mbmrl_sim.render import render
from mbmrl_sim.state import pack_state

STATE = pack_state([0, 0, 0.025], [0] * 3, [0] * 3, [0] * 3, [0, 0], [0] * 2, [0] * 2, 4.0)
PATH = np.stack([np.linspace(-0.3, 0.3, 100), np.zeros(100)], axis=1)


def test_pictures_show_the_robot_its_phases_and_its_lost_legs() -> None:
    stepping = STATE.copy()
    stepping[15:17] = 0.0, 1.0  # the left legs a quarter of a turn on
    intact, again, lame, moved = render(
        np.array([STATE, STATE, STATE, stepping]),
        [set(), set(), {0, 1, 2}, set()],
        PATH,
        width=160,
        height=120,
    )
    assert intact.shape == (120, 160, 3)
    assert intact.std() > 5  # something is to be seen
    np.testing.assert_array_equal(intact, again)
    assert (lame != intact).any()
    assert (moved != intact).any()


def test_path_is_drawn_on_the_ground() -> None:
    far_away = np.add(PATH, (0.0, 0.9))
    (with_path,), (without,) = (
        list(render(STATE[None], [set()], path, width=160, height=120)) for path in (PATH, far_away)
    )
    assert (with_path != without).any()
