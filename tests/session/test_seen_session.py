"""Sessions that see through a rendered camera: from demonstrations to decisions, over DDS as in one process."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from tmrl_ros.config import BaseConfig, SimConfig, validate
from tmrl_ros.data import store
from tmrl_ros.errors import ConfigError
from tmrl_ros.nodes.convert import from_msg, to_msg
from tmrl_ros.nodes.replay import records
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.pretrain import pretrain
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.session import graph, phases
from tmrl_ros.session.inprocess import InProcessSession
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import Decision, Observation

PATIENCE = {"timing": {"lockstep_timeout_s": 60.0}, "task": {"episode_s": 3.0, "reset_s": 2.0}}
TINY = BaseConfig(width=32, layers=1, steps=60, batch=32, embedding=4, encoder_width=16)
NODES = ("sim", "perception", "policy", "supervisor", "recorder", "learner")


@pytest.fixture(scope="module", params=["cloud", "image"])
def run(request, tmp_path_factory):
    """(job, run_dir) after two demonstrations and a little pre-training."""
    try:
        config = SimConfig()
        SimRobot(config.task, config.timing, config.shift, 0).render()
    except ConfigError as error:
        pytest.skip(str(error))
    job = phases.Job(observe=request.param, seed=5, demos=2, episodes=1, minutes=0.3, in_process=True)
    run_dir = tmp_path_factory.mktemp(request.param)
    phases.collect(job, run_dir)
    demos = store.read(run_dir / "demos.zarr")
    settings = graph.section("pretrain", job.file).policy.model_copy(update=TINY.model_dump(exclude_defaults=True))
    base = pretrain(demos.inputs(), store.chunks(demos, 16)[1], settings, 0, state_names=demos.meta.state_names)
    base.save(run_dir / "base_policy", {"task": "pick_cube"})
    return replace(job, overrides=dict.fromkeys(NODES, PATIENCE)), run_dir


def test_demonstrations_hold_what_was_seen_at_each_row_and_say_by_which_calibration(run):
    job, run_dir = run
    demos = store.read(run_dir / "demos.zarr")
    assert demos.meta.calibration == Calibration.read(run_dir / phases.CALIBRATION).id
    assert demos.meta.state_names[:4] == ["tcp_position_x_m", "tcp_position_y_m", "tcp_position_z_m", "gripper_width_m"]
    seen = demos.inputs()
    assert seen.keys() == {"state", "cloud" if job.observe == "cloud" else "camera"}
    assert {len(values) for values in seen.values()} == {len(demos.actions)}
    if job.observe == "cloud":  # before the hand comes near, all that the crop leaves is the cube, at rest
        first = demos.clouds[0]
        assert np.ptp(first, 0).max() < 0.06 and first[:, 2].min() > 0 and first[:, 2].max() < 0.05
    else:
        assert len(np.unique(seen["camera"][[0, -1]].reshape(2, -1), axis=0)) == 2


def test_the_knock_moves_the_camera_and_leaves_the_calibration(run):
    job, run_dir = run
    seen = {}
    for bias_cm in (0.0, 5.0):
        heard = phases.run_session(
            replace(job, bias_cm=bias_cm), run_dir, "look", "evaluate", method="base", episodes=1
        )
        seen[bias_cm] = next(record for record in heard if isinstance(record, Observation))
    if job.observe == "cloud":
        off = seen[5.0].cloud.mean(0) - seen[0.0].cloud.mean(0)
        np.testing.assert_allclose(off, (-0.05, 0.0, 0.0), atol=0.004)
    else:
        assert (seen[5.0].images["camera"] != seen[0.0].images["camera"]).any()
    np.testing.assert_array_equal(seen[5.0].state, seen[0.0].state)


def decisions(heard):
    """Stamp, rows and reward of each, bit for bit, in float32 as in messages."""
    heard = [from_msg(to_msg(record)) for record in heard if isinstance(record, Decision)]
    return [(d.stamp_ns, d.next_stamp_ns, d.actions.tobytes(), d.reward, d.modulation.z.tobytes()) for d in heard]


def finetuning(job, run_dir, out):
    chosen = validate(
        graph.SessionOptions,
        {"base": str(run_dir / "base_policy"), "run_dir": str(out), "seed": job.seed, "minutes": job.minutes,
         "params_file": job.file},
    )  # fmt: skip
    tiny = {"learner": {"sac": {"batch": 16, "updates_per_decision": 2, "warmup_episodes": 1}}}
    overrides = phases._through_camera(
        replace(job, overrides={name: PATIENCE | tiny.get(name, {}) for name in NODES}), run_dir
    )
    return graph.build("finetune", chosen, overrides)


def in_one_process(specs, sparing):
    heard = []
    nodes = {spec.name: validate(graph.MODELS[spec.name], spec.parameters) for spec in specs}
    session = InProcessSession.of_nodes(nodes, heard.append)
    session.sparing = sparing
    session.run()
    return heard


def test_a_session_is_the_same_over_dds_and_where_only_what_decisions_need_is_rendered(run, tmp_path):
    specs = finetuning(*run, tmp_path)
    sparing = in_one_process(specs, sparing=True)
    assert len(decisions(sparing)) > 10
    eager = in_one_process(specs, sparing=False)
    made = [sum(isinstance(record, Observation) for record in heard) for heard in (sparing, eager)]
    assert made[0] < made[1] / 3
    assert decisions(sparing) == decisions(eager)
    assert run_session(specs, tmp_path) == 0
    assert decisions(records(tmp_path / "bag")) == decisions(sparing)


def test_a_base_that_sees_differently_is_refused_in_a_sentence(run, tmp_path):
    _, run_dir = run
    base = BasePolicy.load(run_dir / "base_policy")
    with pytest.raises(Exception, match="the policy needs"):
        base.inputs([Observation(0, np.zeros(7, np.float32))])
