"""A trained classifier as the source of `task_state`, on a robot: each observation judged, success after some of them.

`unknown` is no success. Where nothing can be judged nothing is published, and the supervisor holds.
"""

from pathlib import Path

import numpy as np
from rclpy.node import Node

from tmrl_ros.config import RewardConfig
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.diagnostics import ERROR, OK
from tmrl_ros.nodes.stream_diagnostics import StreamDiagnostics
from tmrl_ros.reward.classifier import Classifier
from tmrl_ros.reward.verdict import Debounce, Verdict
from tmrl_ros.types import TaskState

NOTHING_M = np.zeros((0, 3))  # it sees no positions


class Reward(Node):
    def __init__(self):
        super().__init__("reward", **runtime.NODE_OPTIONS)
        config = runtime.config_of(self, RewardConfig)
        if config.needed > config.frames:
            raise ConfigError(
                f"needed = {config.needed} is more than frames = {config.frames}; success would never come"
            )
        if not config.classifier:
            raise ConfigError("classifier is empty; name the folder that `tmrl reward train` wrote")
        self._classifier = Classifier.load(Path(config.classifier))
        self._debounce = Debounce(config.needed, config.frames)
        self._counts = dict.fromkeys((verdict.name.lower() for verdict in Verdict), 0)
        self._said = StreamDiagnostics(self)
        self._said.expect("observation", lambda: {**self._counts, "probability": self._probability})
        self._probability = float("nan")
        waits = config.timing.waits
        self._publisher = topics.TASK_STATE.lossless(waits).publisher(self)
        topics.OBSERVATION.lossless(waits).subscribe(self, self._on_observation)
        topics.EPISODE_EVENT.subscribe(self, self._on_event)

    def _on_observation(self, message):
        self._said.heard("observation")
        try:
            observation = convert.from_msg(message)
            verdict, self._probability = self._classifier.judge(observation)
        except DataError as error:
            self._said.judge("observation", ERROR, str(error))
            return self.get_logger().error(str(error), throttle_duration_sec=1.0)
        self._said.judge("observation", OK, "")
        self._counts[verdict.name.lower()] += 1
        done = self._debounce.add(observation.stamp_ns, verdict)
        self._publisher.publish(convert.to_msg(TaskState(observation.stamp_ns, done, NOTHING_M)))
        return None

    def _on_event(self, message):
        if message.kind == "started":
            self._debounce.clear()


def main():
    runtime.run(Reward)
