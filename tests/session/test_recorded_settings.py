"""Settings of a session from its bag: from beside it, from the copies in it, or a sentence."""

import numpy as np
import pytest

from tmrl_ros.data import schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import CalibrationError, ConfigError, DataError
from tmrl_ros.parameters import write_parameters
from tmrl_ros.perception.calibration import Calibration, CameraCalibration
from tmrl_ros.perception.camera import Intrinsics
from tmrl_ros.session import recorded_settings

NODES = ("policy", "learner")


def written(file, seed) -> bytes:
    write_parameters(file, {"policy": {"seed": seed}})
    return file.read_bytes()


def calibrated(file, serial) -> Calibration:
    camera = CameraCalibration(
        serial=serial, mount="eye_to_hand", intrinsics=Intrinsics(64, 48, (60.0, 60.0), (32.0, 24.0)),
        parent_from_camera=np.eye(4).tolist(), views=12, reprojection_px=0.2, board_m=0.001, board_deg=0.1,
        position_std_m=0.001,
    )  # fmt: skip
    made = Calibration(cameras={"front": camera})
    made.write(file)
    return made


def bag(folder, **attached):
    names = {"parameters": "parameters.yaml", "calibration": "calibration.json"}
    with BagWriter(folder, attachments={names[name]: content for name, content in attached.items()}) as writer:
        writer.add_topic("/decision", "tmrl_msgs/msg/Decision", schema.definition("tmrl_msgs/msg/Decision"))
        writer.write("/decision", 1, b"\0")
    return folder


def test_the_copy_in_a_bag_is_read_whether_the_bag_is_named_or_a_file_of_it(tmp_path):
    made = bag(tmp_path / "bag", parameters=written(tmp_path / "own.yaml", 7))
    for named in (made, *made.glob("*.mcap")):
        assert recorded_settings.parameters(named, NODES) == {"policy": {"seed": 7}, "learner": {}}


def test_parameters_beside_the_bag_win_over_its_copy_and_both_over_another_file(tmp_path):
    made = bag(tmp_path / "bag", parameters=written(tmp_path / "own.yaml", 7))
    written(tmp_path / "other.yaml", 9)
    assert recorded_settings.parameters(made, NODES, tmp_path / "other.yaml")["policy"] == {"seed": 7}
    written(tmp_path / "parameters.yaml", 8)
    assert recorded_settings.parameters(made, NODES, tmp_path / "other.yaml")["policy"] == {"seed": 8}


def test_a_bag_without_parameters_takes_the_other_file_or_is_refused(tmp_path):
    made = bag(tmp_path / "bag")
    with pytest.raises(DataError, match=r"has no parameters.yaml, neither in it nor beside it; put"):
        recorded_settings.parameters(made, NODES)
    written(tmp_path / "other.yaml", 9)
    assert recorded_settings.parameters(made, NODES, tmp_path / "other.yaml")["policy"] == {"seed": 9}


def test_a_copy_that_was_edited_or_is_of_other_nodes_is_refused_by_the_name_of_its_bag(tmp_path):
    edited = written(tmp_path / "own.yaml", 7).replace(b"7", b"8")
    with pytest.raises(ConfigError, match=r"bag: parameters.yaml is not what was written"):
        recorded_settings.parameters(bag(tmp_path / "bag", parameters=edited), NODES)
    with pytest.raises(ConfigError, match=r"other: parameters.yaml: there is no node policy"):
        made = bag(tmp_path / "other", parameters=written(tmp_path / "own.yaml", 7))
        recorded_settings.parameters(made, ("learner",))


def test_cameras_are_where_they_were_when_the_bag_was_recorded(tmp_path):
    then, now = calibrated(tmp_path / "then.json", "1"), calibrated(tmp_path / "now.json", "2")
    made = bag(tmp_path / "bag", calibration=(tmp_path / "then.json").read_bytes())
    assert recorded_settings.calibration(made, str(tmp_path / "now.json")) == then
    assert recorded_settings.calibration(bag(tmp_path / "old"), str(tmp_path / "now.json")) == now
    with pytest.raises(CalibrationError, match=r"damaged: calibration.json is damaged"):
        recorded_settings.calibration(bag(tmp_path / "damaged", calibration=b"{}"), str(tmp_path / "now.json"))
