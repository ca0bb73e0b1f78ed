"""The rendered camera over DDS, through the nodes, and in one process: the same observations bit for bit."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
from test_sim_graph import Driver

from tmrl_ros import fr3
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes import camera, convert, topics
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.trajectory import hold
from tmrl_ros.session import graph
from tmrl_ros.session.seeing import Seeing, calibrated

SEED, TICKS = 3, 9
MOVED = (0.05, 0.0, 0.0)


@pytest.mark.parametrize("observe", ["cloud", "image"])
def test_nodes_and_one_process_see_the_same_bit_for_bit(ros, tmp_path, observe):
    context, start = ros
    file = graph.parameters_file("").with_name(f"sim_{observe}.yaml")
    before = graph.section("sim", str(file), seed=SEED)
    path = tmp_path / "calibration.json"
    calibrated(before, camera.NAME).write(path)
    sim_config = before.model_copy(update={"shift": before.shift.model_copy(update={"camera_moved_m": MOVED})})
    sim = SimRobot(sim_config.task, sim_config.timing, sim_config.shift, SEED)
    perception = graph.section("perception", str(file), calibration=str(path))
    try:
        seeing = Seeing.through(perception, sim, sim_config)
        sim.render()
    except ConfigError as error:
        pytest.skip(str(error))
    start("sim", **dotted(sim_config.model_dump(mode="json")))
    start("perception", **dotted(perception.model_dump(mode="json")))
    driver = Driver(context)
    driver.run_ticks(TICKS, partners=(topics.OBSERVATION,))
    heard = {o.stamp_ns: o for o in map(convert.from_msg, driver.heard[topics.OBSERVATION.name])}
    driver.destroy_node()
    compared = 0
    while sim.stamp_ns <= max(heard):
        if sim.observing:
            alike(seeing.observe(sim), heard[sim.stamp_ns])
            compared += 1
        sim.run_tick(hold(sim.stamp_ns, fr3.HOME_Q), 0.08)
    assert compared >= TICKS // 2


def dotted(values, above=""):
    """Parameters by dotted name, but those that are empty, which a command line cannot hold."""
    flat = {}
    for name, value in values.items():
        flat |= dotted(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return {name: value for name, value in flat.items() if value != ""}


def alike(ours, theirs):
    assert ours.state.tobytes() == theirs.state.tobytes()
    assert ours.images.keys() == theirs.images.keys()
    for name, image in ours.images.items():
        np.testing.assert_array_equal(image, theirs.images[name])
    assert (ours.cloud is None) == (theirs.cloud is None)
    if ours.cloud is not None:
        assert ours.cloud.tobytes() == theirs.cloud.tobytes()
