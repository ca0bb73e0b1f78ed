"""The low-dimensional observation."""

import numpy as np

from tmrl_ros.perception.state import STATE_DIM, STATE_LAYOUT, STATE_NAMES, state_observation


def test_state_holds_each_quantity_in_its_place():
    observation = state_observation(
        7, np.array([0.1, 0.2, 0.3]), 0.05, np.array([[0.4, 0.6, 0.8], [9, 9, 9]]), np.array([0.11, 0.19, 0.3])
    )
    assert observation.stamp_ns == 7
    assert observation.state.dtype == np.float32
    np.testing.assert_allclose(observation.state, [0.1, 0.2, 0.3, 0.05, 0.3, 0.4, 0.5, 0.01, -0.01, 0], atol=1e-7)


def test_layout_describes_every_entry():
    assert sum(size for _, size, _ in STATE_LAYOUT) == STATE_DIM == len(STATE_NAMES) == 10
    assert STATE_NAMES[3:5] == ["gripper_width_m", "object_from_tcp_x_m"]
