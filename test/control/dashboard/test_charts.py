"""What charts draw of numbers."""

from __future__ import annotations

import numpy as np

from mbmrl_control.dashboard.charts import averaged, root_mean_square


def test_average_is_of_the_values_up_to_each() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = [values[max(0, end - 10) : end].mean() for end in range(1, 41)]
    np.testing.assert_allclose(averaged(values), expected)
    np.testing.assert_allclose(root_mean_square(values**2)[-1], np.sqrt((values[-10:] ** 2).mean()))
