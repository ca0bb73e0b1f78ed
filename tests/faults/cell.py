"""What stands around the rig's session: a camera over a table, a person with a device. Both go through its rules."""

import sys
import time
from pathlib import Path

import numpy as np

from tmrl_ros.nodes import convert, topics
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg
from tmrl_ros.types import TeleopCommand

sys.path.append(str(Path(__file__).parents[1] / "perception"))
import tabletop

CAMERA_HZ, DEVICE_HZ, OPERATOR_HZ = 30, 20, 4
COLOR, DEPTH, INFO = camera_topics("camera/front")


def perception(folder: Path) -> dict:
    """Parameters of the perception node that looks through the camera; its state is what the policy was made for."""
    tabletop.calibration().write(folder / "calibration.json")
    return {
        "cameras": {"front": {"width_px": 64, "height_px": 48}},
        "calibration": str(folder / "calibration.json"),
        "cloud": tabletop.CLOUD,
        "use_sim_time": True,  # stamps are the simulation's
    }


class Camera:
    """Frames with the stamps of the arm's newest state, 30 a second."""

    def __init__(self, rig):
        self._rig, self._sent, self._stamp_ns = rig, 0, 0
        self._publishers = [topic.publisher(rig) for topic in (INFO, COLOR, DEPTH)]
        rig.repeat("camera", CAMERA_HZ, self._look)

    def _look(self) -> None:
        stamp_ns = self._rig.arm_ns
        if stamp_ns <= self._stamp_ns:
            return
        self._sent, self._stamp_ns = self._sent + 1, stamp_ns
        messages = [
            info_msg(stamp_ns, "front", tabletop.INTRINSICS),
            convert.image_msg(stamp_ns, "front", tabletop.colour(self._sent)),
            convert.image_msg(stamp_ns, "front", tabletop.depth(self._sent)),
        ]
        for publisher, message in zip(self._publishers, messages, strict=True):
            self._rig.send(publisher.topic_name.removeprefix("/"), publisher, message)


class Person:
    """Takes the device and moves the arm; `last_s` is when it last spoke (time.monotonic)."""

    def __init__(self, rig):
        self._rig, self._publisher, self.last_s = rig, topics.JOY.publisher(rig), 0.0
        rig.until(self._publisher.get_subscription_count)

    def drive(self, velocity) -> None:
        """Wish this velocity share [3] from now on, with the hand closed."""
        self._rig.repeat("device", DEVICE_HZ, lambda: self._say(np.array(velocity, float), True))

    def let_go(self) -> None:
        """Say so, once, and be silent."""
        self.vanish()
        self._say(np.zeros(3), False)

    def vanish(self) -> None:
        self._rig.repeating.pop("device", None)

    def _say(self, velocity, clutch) -> None:
        self.last_s = time.monotonic()
        self._publisher.publish(convert.to_msg(TeleopCommand(self._rig.arm_ns, velocity, True, clutch)))
