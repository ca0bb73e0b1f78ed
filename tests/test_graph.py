"""The one description of the node graphs, its parameters and its arguments."""

import os
from typing import get_args

import pytest
import yaml

from tmrl_ros import parameters
from tmrl_ros.config import PerceptionConfig, SimulatedTask, validate
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.perception.state import STATE_NAMES, sources_of
from tmrl_ros.robot.tasks import TASKS
from tmrl_ros.session import arguments, graph
from tmrl_ros.session.graph import SessionOptions, build


def by_name(kind, **options):
    return {spec.name: spec for spec in build(kind, SessionOptions(**options))}


def test_each_session_has_the_nodes_it_needs():
    assert set(by_name("collect")) == {"sim", "perception", "recorder", "teleop", "supervisor"}
    assert set(by_name("evaluate")) == {"sim", "perception", "recorder", "policy", "supervisor"}
    assert set(by_name("finetune")) == {"sim", "perception", "recorder", "policy", "learner", "supervisor"}
    robot = set(by_name("finetune", sim=False))
    assert robot == {"franka", "perception", "recorder", "policy", "learner", "supervisor"}
    assert set(by_name("finetune", sim=False, reward="/r")) - robot == {"reward"}
    assert set(by_name("finetune", sim=False, controller="crisp")) - robot == {"crisp"}
    assert set(by_name("finetune", sim=False, device="spacenav")) - robot == {"teleop"}
    assert set(by_name("evaluate", device="spacenav")) - set(by_name("evaluate")) == {"teleop"}


def test_where_a_person_takes_part_a_simulation_runs_in_their_time_and_waits_for_no_learner():
    specs = by_name("finetune", device="gamepad")
    assert specs["sim"].parameters["timing"]["real_time"] and "teleop" in specs
    assert not specs["policy"].parameters["wait_for_learner"]
    assert by_name("finetune")["policy"].parameters["wait_for_learner"]


def test_a_simulation_needs_no_classifier_of_success():
    with pytest.raises(ConfigError, match="reward is for a robot"):
        by_name("evaluate", reward="/r")


def test_a_classifier_that_is_not_there_is_refused_before_the_start(tmp_path):
    specs = build("collect", SessionOptions(sim=False, reward=str(tmp_path / "none"), run_dir=str(tmp_path / "run")))
    with pytest.raises(DataError, match=r"reward .*none does not exist; give a folder that `tmrl reward train`"):
        graph.check_folders(specs)


def test_only_the_learner_may_restart():
    assert [name for name, spec in by_name("finetune").items() if spec.restarts] == ["learner"]


def test_facts_of_the_session_reach_every_node_alike():
    specs = by_name("finetune", seed=7, task="push_cube", method="dsrl")
    assert {spec.parameters["seed"] for spec in specs.values()} == {7}
    assert {spec.parameters["task"]["name"] for spec in specs.values()} == {"push_cube"}
    assert len({str(spec.parameters["timing"]) for spec in specs.values()}) == 1
    assert specs["policy"].parameters["method"] == specs["learner"].parameters["method"] == "dsrl"


def test_the_knocked_camera_is_as_far_off_as_asked():
    bias = by_name("evaluate", bias_cm=5)["sim"].parameters["shift"]["camera_bias_m"]
    assert sum(v * v for v in bias) ** 0.5 == pytest.approx(0.05, rel=1e-3)


def test_a_real_robot_is_not_waited_for_and_a_person_starts_it():
    specs = by_name("finetune", sim=False)
    assert not specs["supervisor"].parameters["timing"]["lockstep"]
    assert not specs["supervisor"].parameters["autostart"]
    assert not specs["policy"].parameters["wait_for_learner"]
    assert specs["supervisor"].parameters["placing"] == specs["supervisor"].parameters["judge"] == "operator"
    assert by_name("finetune", sim=False, reward="/r")["supervisor"].parameters["judge"] == "source"


def test_a_robot_learns_a_task_of_any_name_and_a_simulation_its_own_alone():
    specs = by_name("finetune", sim=False, task="stack_cups")
    assert {spec.parameters["task"]["name"] for spec in specs.values()} == {"stack_cups"}
    with pytest.raises(ConfigError, match=r"'stack_cups' is not simulated, pick_cube and push_cube are; .*sim:=false"):
        by_name("finetune", task="stack_cups")


def test_what_can_be_asked_of_a_simulation_is_what_it_has():
    assert set(get_args(SimulatedTask)) == set(TASKS)


def test_overrides_win_over_options_and_options_over_the_file(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        yaml.dump({"supervisor": {"ros__parameters": {"seed": 1, "session_min": 9.0, "limits.step_m": 0.01}}})
    )
    options = SessionOptions(params_file=str(file), seed=2, minutes=3)
    specs = {s.name: s for s in build("finetune", options, {"supervisor": {"session_min": 4}})}
    values = specs["supervisor"].parameters
    assert (values["seed"], values["session_min"], values["limits"]["step_m"]) == (2, 4, 0.01)


def test_a_misspelt_key_is_refused_by_name_before_anything_starts(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("/**/supervisor: {ros__parameters: {limits: {stepm: 0.01}}}")
    with pytest.raises(ConfigError, match=r"limits.stepm is not a parameter of SafetyLimits; did you mean step_m"):
        build("finetune", SessionOptions(params_file=str(file)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/**/supervisr: {ros__parameters: {}}", "no node supervisr; did you mean supervisor"),
        ("supervisor: {parameters: {}}", "must hold ros__parameters"),
        ("supervisor: [", "is no YAML"),
        ("just words", "must hold ros__parameters"),
    ],
)
def test_a_damaged_parameter_file_is_refused_in_a_sentence(tmp_path, text, sentence):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        build("finetune", SessionOptions(params_file=str(file)))


def test_finetuning_without_learning_is_refused():
    with pytest.raises(ConfigError, match="method base does not learn"):
        build("finetune", SessionOptions(method="base"))


def test_an_evaluation_without_an_actor_is_of_the_base_whatever_the_method():
    assert by_name("evaluate")["policy"].parameters["method"] == "base"
    assert by_name("evaluate", method="rfs")["policy"].parameters["method"] == "base"
    assert by_name("evaluate", method="rfs", actor="/a")["policy"].parameters["method"] == "rfs"
    assert by_name("finetune", method="rfs")["policy"].parameters["method"] == "rfs"


@pytest.mark.parametrize("resume", [False, True])
def test_finetuning_from_an_actor_is_refused_because_it_would_be_replaced(tmp_path, resume):
    options = SessionOptions(actor="/a", resume=resume, run_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"'/a': finetune does not begin with one; evaluate it .*resume:=true"):
        build("finetune", options)


def test_the_policy_is_told_what_perception_publishes():
    assert by_name("evaluate")["policy"].parameters["state_names"].split() == STATE_NAMES
    seen = {"cameras": {"front": {}}, "state": "joint_position gripper_width"}
    specs = build("finetune", SessionOptions(), {"perception": seen})
    (policy,) = (spec for spec in specs if spec.name == "policy")
    assert policy.parameters["state_names"].split() == [
        *(f"joint_position_{k}_rad" for k in range(1, 8)),
        "gripper_width_m",
    ]


def test_written_parameters_read_back_the_same(tmp_path):
    specs = build("finetune", SessionOptions(bias_cm=3))
    values = {spec.name: spec.parameters for spec in specs}
    parameters.write_parameters(tmp_path / "p.yaml", values)
    assert parameters.read_parameters(tmp_path / "p.yaml", list(values)) == values


def test_no_parameter_is_null_or_a_list_of_dicts():
    """ROS parameters can hold neither."""

    def check(name, value):
        assert value is not None, f"{name} is null"
        if isinstance(value, dict):
            for key, entry in value.items():
                check(f"{name}.{key}", entry)
        elif isinstance(value, list):
            assert not any(isinstance(entry, dict | list | None.__class__) for entry in value), name

    for kind in ("collect", "finetune"):
        for spec in build(kind, SessionOptions()):
            check(spec.name, spec.parameters)


def test_every_argument_is_described_and_its_default_valid():
    for entry in arguments.arguments():
        assert entry.description
        assert not entry.choices or entry.default in entry.choices
    words = [f"{entry.name}:={entry.default}" for entry in arguments.arguments()]
    assert arguments.parse(words) == SessionOptions()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("minuts:=3", "did you mean minutes"),
        ("minutes=3", "write name:=value"),
        ("minutes:=soon", "minutes = 'soon'"),
        ("seed:=-1", "seed = '-1'"),
        ("task:=Juggle 3", "task = 'Juggle 3'"),
    ],
)
def test_a_wrong_argument_is_named(word, sentence):
    with pytest.raises(ConfigError, match=sentence):
        arguments.parse([word])


def test_both_parameter_files_are_found_and_valid():
    for sim in (True, False):
        assert graph.parameters_file("", sim).is_file()
        for kind in ("collect", "evaluate", "finetune"):
            build(kind, SessionOptions(sim=sim))


def test_every_section_of_a_file_is_checked_also_one_that_no_node_reads_here(tmp_path):
    for file in map(graph.shipped, ("sim.yaml", "real.yaml", "real_image.yaml")):
        assert graph.sections(str(file)).keys() == graph.SECTIONS.keys()
    for name in graph.SECTIONS:
        file = tmp_path / "cell.yaml"
        file.write_text(f"/**/{name}: {{ros__parameters: {{sed: 3}}}}\n")
        with pytest.raises(ConfigError, match=rf"cell.yaml, section {name}: sed is not a parameter of .*mean seed\?"):
            graph.sections(str(file))


def deployment(name):
    return parameters.read_parameters(graph.shipped(f"{name}.yaml"), graph.SECTIONS)


@pytest.mark.parametrize("kind", ["collect", "evaluate", "finetune"])
def test_a_robot_with_a_camera_needs_nobody_who_tracks_objects(kind):
    file = str(graph.shipped("real_image.yaml"))
    perception = by_name(kind, sim=False, params_file=file)["perception"].parameters
    assert list(perception["cameras"]) == ["front"] and perception["calibration"]
    assert "objects" not in sources_of(validate(PerceptionConfig, perception).state.split())


def test_a_robot_with_a_camera_learns_with_what_was_measured_in_simulation():
    real, measured, robot = map(deployment, ("real_image", "sim_image", "real"))
    facts = set(robot["pretrain"])  # of time and task, which every section has
    for name in ("pretrain", "policy", "learner"):
        own = {key: value for key, value in measured[name].items() if key not in facts}
        assert own and parameters.merged(robot[name], own) == real[name]
    for key in ("width_px", "height_px", "cloud"):
        assert real["perception"]["cameras"]["front"][key] == measured["perception"]["cameras"]["camera"][key]
    assert real["perception"]["state"] == measured["perception"]["state"]
    devices = validate(graph.SECTIONS["realsense"], real["realsense"]).cameras
    assert devices.keys() == real["perception"]["cameras"].keys()
    for name in graph.SECTIONS.keys() - {"pretrain", "policy", "learner", "perception", "realsense"}:
        assert real[name] == robot[name], "a robot's own settings are alike with a camera and without"


def test_only_a_finetune_session_goes_on_and_only_where_there_was_one(tmp_path):
    with pytest.raises(ConfigError, match="resume goes on with finetune sessions alone"):
        build("collect", SessionOptions(resume=True))
    with pytest.raises(DataError, match="holds no session that could go on"):
        build("finetune", SessionOptions(resume=True, run_dir=str(tmp_path)))


def test_arguments_of_a_replay_are_its_own():
    words = [f"{entry.name}:={entry.default}" for entry in arguments.arguments(graph.ReplayOptions)]
    assert arguments.parse(words, graph.ReplayOptions) == graph.ReplayOptions()
    with pytest.raises(ConfigError, match="minutes is no argument; did you mean"):
        arguments.parse(["minutes:=3"], graph.ReplayOptions)


def test_a_bag_without_parameters_is_played_with_those_of_the_file(tmp_path):
    with BagWriter(tmp_path / "foreign"):
        pass
    options = graph.ReplayOptions(
        bag=str(tmp_path / "foreign"), nodes="policy, learner", base=str(tmp_path), topics="/a,/b"
    )
    specs = {spec.name: spec for spec in graph.build_replay(options)}
    assert list(specs) == ["policy", "learner", "player"]
    assert specs["policy"].parameters["base"] == specs["learner"].parameters["base"] == str(tmp_path)
    player = specs["player"].parameters
    assert (player["nodes"], player["topics"], player["rate"]) == ("policy learner", "/a /b", 1.0)


def test_a_bag_gets_the_parameters_of_its_session_and_the_calibration_of_its_cameras(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("/**/perception: {ros__parameters: {calibration: cameras.json}}\n")
    options = SessionOptions(run_dir=str(tmp_path / "run"), params_file=str(file))
    recorder = next(spec.parameters for spec in build("collect", options) if spec.name == "recorder")
    assert recorder["parameters"] == str(tmp_path / "run/parameters.yaml")
    assert recorder["calibration"] == os.path.abspath("cameras.json")


def test_what_an_option_overrides_in_a_file_must_be_sound_too(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("/**: {ros__parameters: {seed: many}}\n")
    with pytest.raises(ConfigError, match="seed = 'many'"):
        build("collect", SessionOptions(params_file=str(file), seed=3))
