"""`tmrl view` beside a simulated session that sees clouds: it writes what the session's own bag holds."""

import pytest

pytest.importorskip("rclpy")
import numpy as np
from live import viewer, written, xyz

from tmrl_ros.config import SimConfig, validate
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes.replay import records
from tmrl_ros.parameters import write_parameters
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.session import graph, phases
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import EpisodeEvent, Observation

PATIENCE = {"timing": {"lockstep_timeout_s": 60.0}}


def test_clouds_are_those_of_the_bag_at_their_stamps_and_the_file_ends_with_the_session(tmp_path, ros_domain):
    config = SimConfig()
    try:
        SimRobot(config.task, config.timing, config.shift, 0).render()
    except ConfigError as error:
        pytest.skip(str(error))
    job = phases.Job(observe="cloud", bias_cm=0.0)
    phases._calibrate(job, tmp_path)
    chosen = validate(
        graph.SessionOptions, {"run_dir": str(tmp_path / "session"), "params_file": job.file, "episodes": 2}
    )
    overrides = phases._through_camera(job, tmp_path)
    for name in graph.node_names("collect", chosen):
        overrides[name] = overrides.get(name, {}) | PATIENCE
    specs = graph.build("collect", chosen, overrides)
    write_parameters(tmp_path / "cell.yaml", {spec.name: spec.parameters for spec in specs})
    with viewer(tmp_path / "cell.yaml", "--file", tmp_path / "seen.mcap", "--look-hz", "10") as (process, _):
        assert run_session(specs, tmp_path / "session") == 0
        assert process.wait(20) == 0
    seen, heard = written(tmp_path / "seen.mcap"), list(records(tmp_path / "session/bag"))
    recorded = {record.stamp_ns: record for record in heard if isinstance(record, Observation)}
    assert len(seen["/cloud"]) >= 5 and len(seen["/overlay/camera"]) >= 3
    for stamp_ns, cloud in seen["/cloud"]:
        np.testing.assert_array_equal(xyz(cloud), recorded[stamp_ns].cloud)
    assert {stamp_ns for stamp_ns, _ in seen["/overlay/camera"]} <= recorded.keys()
    for stamp_ns, update in seen["/tcp"]:
        tcp = update.entities[0].spheres[0].pose.position
        np.testing.assert_allclose((tcp.x, tcp.y, tcp.z), recorded[stamp_ns].state[:3], atol=1e-6)
    ended = [f"episode {e.episode} {e.kind}, {e.reason}" for e in heard if isinstance(e, EpisodeEvent) if e.reason]
    assert ended and {line.message for _, line in seen["/log"]} >= set(ended)
    assert seen["/session"][-1][1]["episodes"] == 2
