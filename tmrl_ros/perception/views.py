"""Views of the calibration board from a recording or a live stream: one wherever the hand has come to rest anew.

Images and poses have clocks of their own, so only an image between poses that stand still belongs to a pose.
"""

from bisect import bisect_left
from collections import Counter, deque

import numpy as np

from tmrl_ros.errors import FrameError
from tmrl_ros.perception.board import Board, BoardView

REST_NS = 150_000_000  # before and after an image, for which the hand must stand still
STILL_M, STILL_DEG = 0.0005, 0.1
NEW_M, NEW_DEG = 0.02, 3.0  # from every place before: one of the two
WAITING = 16  # images that wait for the poses after them
POSES = 2048  # kept: two seconds at 1 kHz


class ViewCollector:
    """`views` and `base_from_gripper` belong together; `counts` says what became of the images."""

    def __init__(self, board: Board):
        self.views: list[BoardView] = []
        self.base_from_gripper: list[np.ndarray] = []  # [4, 4] each
        self.counts: Counter[str] = Counter()
        self.refusal = ""  # of the last image of a hand at rest
        self._board = board
        self._stamps, self._poses = deque(maxlen=POSES), deque(maxlen=POSES)
        self._waiting = deque(maxlen=WAITING)

    def add_pose(self, stamp_ns: int, base_from_gripper: np.ndarray) -> bool:
        """The hand's pose [4, 4]; whether one of the images that waited for it became a view."""
        if self._stamps and stamp_ns <= self._stamps[-1]:
            return False
        self._stamps.append(stamp_ns)
        self._poses.append(base_from_gripper)
        before = len(self.views)
        while self._waiting and self._waiting[0][0] + REST_NS <= stamp_ns:
            self._judge(*self._waiting.popleft())
        return len(self.views) > before

    def add_image(self, stamp_ns: int, image: np.ndarray) -> None:
        """uint8 [height, width, 3] rgb; it is judged once the poses after it have come."""
        self._waiting.append((stamp_ns, image))

    def _judge(self, stamp_ns, image):
        pose = self._pose_at_rest(stamp_ns)
        if pose is None:
            self.counts["while the hand moved"] += 1
        elif not all(_apart(pose, other, NEW_M, NEW_DEG) for other in self.base_from_gripper):
            self.counts["from a place that was seen before"] += 1
        else:
            try:
                view = self._board.detect(image)
            except FrameError as error:
                self.refusal = str(error)
                self.counts["without enough of the board"] += 1
                return
            self.counts["views"] += 1
            self.views.append(view)
            self.base_from_gripper.append(pose)

    def _pose_at_rest(self, stamp_ns):
        """The pose nearest to the image, or None where the hand moved or was not heard around it."""
        stamps = list(self._stamps)
        first, last = bisect_left(stamps, stamp_ns - REST_NS), bisect_left(stamps, stamp_ns + REST_NS)
        around = range(first, min(last + 1, len(stamps)))
        if not around or stamps[around[0]] > stamp_ns:
            return None
        nearest = self._poses[min(around, key=lambda k: abs(stamps[k] - stamp_ns))]
        moved = any(_apart(nearest, self._poses[k], STILL_M, STILL_DEG) for k in around)
        return None if moved else nearest


def _apart(one, other, distance_m, angle_deg) -> bool:
    """Whether two poses differ by more than a distance or an angle."""
    chord = np.linalg.norm(one[:3, :3] - other[:3, :3])  # of two rotations: sqrt(8) sin(angle / 2)
    turn = 2 * np.degrees(np.arcsin(min(chord / np.sqrt(8), 1.0)))
    return bool(np.linalg.norm(one[:3, 3] - other[:3, 3]) > distance_m or turn > angle_deg)
