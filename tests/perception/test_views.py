"""Which images of a recording become views: those of a board before a hand that rests in a new place."""

import numpy as np
from scipy.spatial.transform import Rotation
from test_calibration import BOARD, TRUE, draw, pose, shots

from tmrl_ros.perception.views import ViewCollector

ARMS, BOARDS = shots("eye_to_hand", TRUE["eye_to_hand"])
IMAGES = [draw(board) for board in BOARDS[:3]]
EMPTY = np.full((480, 640), 160, np.uint8)


def ns(seconds):
    return round(seconds * 1e9)


def rest(collector, start_s, arm, shown, seconds=0.6):
    """The hand rests, poses at 50 Hz; `shown` maps time after start to an image."""
    for k in range(round(seconds * 50)):
        for after_s in [t for t in shown if k * 0.02 >= t]:
            collector.add_image(ns(start_s + after_s), shown.pop(after_s))
        collector.add_pose(ns(start_s + k * 0.02), arm)


def test_each_new_place_gives_one_view_with_its_own_pose():
    collector = ViewCollector(BOARD)
    for k, image in enumerate(IMAGES):
        rest(collector, k, ARMS[k], {0.2: image, 0.3: image, 0.4: image})
    assert len(collector.views) == 3
    np.testing.assert_array_equal(collector.base_from_gripper, ARMS[:3])
    assert collector.counts == {"views": 3, "from a place that was seen before": 6}


def test_an_image_of_a_moving_hand_is_none():
    collector = ViewCollector(BOARD)
    for k in range(60):
        if k == 30:
            collector.add_image(ns(0.6), IMAGES[0])
        collector.add_pose(ns(k * 0.02), ARMS[0] @ pose(Rotation.identity(), (0.0001 * k, 0, 0)))
    assert not collector.views and collector.counts == {"while the hand moved": 1}


def test_an_image_before_the_hand_has_settled_or_without_poses_around_it_is_none():
    collector = ViewCollector(BOARD)
    rest(collector, 0.0, ARMS[0], {}, 0.4)
    collector.add_image(ns(0.5), IMAGES[1])
    rest(collector, 0.41, ARMS[1], {}, 0.6)
    collector.add_image(ns(5.0), IMAGES[1])
    rest(collector, 5.5, ARMS[1], {}, 0.4)
    assert collector.counts == {"while the hand moved": 2}


def test_an_image_just_before_the_hand_moves_on_is_none():
    collector = ViewCollector(BOARD)
    rest(collector, 0.0, ARMS[0], {0.3: IMAGES[0]}, 0.4)
    rest(collector, 0.4, ARMS[1], {})
    assert collector.counts == {"while the hand moved": 1}


def test_an_image_without_the_board_leaves_its_place_open():
    collector = ViewCollector(BOARD)
    rest(collector, 0.0, ARMS[0], {0.2: EMPTY, 0.3: IMAGES[0]})
    assert len(collector.views) == 1 and "0 corners" in collector.refusal
    assert collector.counts == {"without enough of the board": 1, "views": 1}


def test_a_turn_alone_makes_a_new_place_and_poses_that_come_late_change_nothing():
    collector = ViewCollector(BOARD)
    rest(collector, 0.0, ARMS[0], {0.2: IMAGES[0]})
    assert not collector.add_pose(ns(0.1), ARMS[2])
    turned = ARMS[0] @ pose(Rotation.from_euler("z", 4, degrees=True), (0, 0, 0))
    rest(collector, 1.0, turned, {0.2: IMAGES[0]})
    rest(collector, 2.0, ARMS[0] @ pose(Rotation.from_euler("z", 2, degrees=True), (0, 0, 0)), {0.2: IMAGES[0]})
    assert len(collector.views) == 2
