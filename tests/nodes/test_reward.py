"""The reward node as a process: observations in, task_state out, success after enough sure frames."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_ros.nodes import convert, topics
from tmrl_ros.reward import training

sys.path.append(str(Path(__file__).parents[1] / "reward"))
import bright

PATIENCE_S = 40.0


class Cell(Node):
    def __init__(self, context):
        super().__init__("cell", context=context)
        self.observations, self.events = topics.OBSERVATION.publisher(self), topics.EPISODE_EVENT.publisher(self)
        self.states, self.stamp_ns, self.rng = [], 0, np.random.default_rng(3)
        topics.TASK_STATE.subscribe(self, lambda message: self.states.append(convert.from_msg(message)))
        self.spinner = SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)
        self.until(self.observations.get_subscription_count)
        self.until(self.events.get_subscription_count)
        self.until(self._answered)  # discovery goes both ways

    def _answered(self):
        self.stamp_ns += bright.TICK_NS
        first = bright.observation(self.stamp_ns, bright.image(False, self.rng))
        self.observations.publish(convert.to_msg(first))
        return self.states

    def until(self, condition):
        end_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, self.states
            self.spinner.spin_once(timeout_sec=0.05)

    def see(self, *frames):
        """An observation each, answered before the next; returns what was said of success."""
        said = []
        for pixels in frames:
            self.stamp_ns += bright.TICK_NS
            self.observations.publish(convert.to_msg(bright.observation(self.stamp_ns, pixels)))
            self.until(lambda: self.states and self.states[-1].stamp_ns == self.stamp_ns)
            said.append(self.states[-1].success)
        return said


def test_success_is_said_after_some_frames_and_not_carried_into_the_next_episode(ros, tmp_path):
    training.train(bright.frames(), bright.SETTINGS, 0, tmp_path / "classifier", lambda step, loss: None)
    context, start = ros
    start("reward", classifier=tmp_path / "classifier", needed=3, frames=3, **{"timing.lockstep": False})
    cell = Cell(context)
    high, low = (lambda k: [bright.image(True, cell.rng) for _ in range(k)]), bright.image(False, cell.rng)
    assert cell.see(low, low, *high(3)) == [False] * 4 + [True]
    assert not cell.states[-1].objects_m.size
    cell.events.publish(convert.to_msg(bright.event(cell.stamp_ns, 1, "started")))
    cell.spinner.spin_once(timeout_sec=0.5)
    time.sleep(0.3)
    assert cell.see(*high(3)) == [False, False, True]
    heard = len(cell.states)
    cell.observations.publish(convert.to_msg(bright.observation(cell.stamp_ns + 1, np.zeros((8, 8, 3), np.uint8))))
    assert cell.see(low) == [False] and len(cell.states) == heard + 1, "what cannot be judged is no task state"
    cell.destroy_node()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "classifier is empty; name the folder that `tmrl reward train` wrote"),
        ({"classifier": "/nowhere"}, "/nowhere: no checkpoint here"),
        ({"classifier": "/nowhere", "needed": 6}, "needed = 6 is more than frames = 5"),
    ],
)
def test_a_bad_parameter_is_one_sentence_and_status_2(options, sentence):
    words = [part for name, value in options.items() for part in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "tmrl_ros.nodes", "reward", "--ros-args", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
