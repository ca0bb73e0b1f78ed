"""The one file that says where the cameras are: versioned, named by its content, travels with data and checkpoints."""

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from tmrl_ros.config import Model
from tmrl_ros.documents import from_json, shown
from tmrl_ros.errors import CalibrationError, ConfigError
from tmrl_ros.perception.camera import CameraModel, Intrinsics, rigid
from tmrl_ros.perception.handeye import HandEye, Mount

Row = tuple[float, float, float, float]


class CameraCalibration(Model):
    """One camera; `parent_from_camera` [4][4] in m, parent: the base (eye_to_hand) or the gripper (eye_in_hand)."""

    serial: str = Field(min_length=1, description="of the device, so that two cameras are not taken for one another")
    mount: Mount
    intrinsics: Intrinsics
    parent_from_camera: tuple[Row, Row, Row, Row]
    views: int
    reprojection_px: float
    board_m: float
    board_deg: float
    position_std_m: float

    @field_validator("parent_from_camera")
    @classmethod
    def _rigid(cls, pose):
        try:
            rigid(pose, "parent_from_camera")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return pose

    @classmethod
    def of(cls, serial: str, mount: Mount, intrinsics: Intrinsics, solved: HandEye) -> "CameraCalibration":
        values = {name: getattr(solved, name) for name in HandEye.__dataclass_fields__}
        values["parent_from_camera"] = solved.parent_from_camera.tolist()
        return cls(serial=serial, mount=mount, intrinsics=intrinsics, **values)

    def camera(self, base_from_gripper: np.ndarray | None = None) -> CameraModel:
        """The camera in the base frame; one on the hand needs the hand's pose [4, 4]."""
        pose = np.array(self.parent_from_camera)
        if self.mount == "eye_in_hand":
            if base_from_gripper is None:
                raise CalibrationError(f"camera {self.serial} is on the hand; its pose needs the hand's")
            pose = base_from_gripper @ pose
        return CameraModel(self.intrinsics, pose)


class Calibration(Model):
    version: Literal[1] = 1
    cameras: dict[str, CameraCalibration] = Field(min_length=1)

    @property
    def id(self) -> str:
        """Names the content: 16 hexadecimal digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require(self, expected_id: str) -> None:
        """Refuses a session on data or a checkpoint that was made with other camera poses."""
        if self.id != expected_id:
            raise CalibrationError(
                f"calibration {self.id} is not {expected_id}, which the data or checkpoint was made with; use its "
                "calibration file, or collect and pre-train again"
            )

    def write(self, path: Path) -> None:
        """All or nothing: a kill leaves the file that was there."""
        partial = path.with_name(f".{path.name}.partial")
        with open(partial, "w") as file:
            json.dump({"id": self.id, **self.model_dump(mode="json")}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise CalibrationError(
                f"calibration {path}: {error.strerror}; name one that exists, or calibrate"
            ) from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, path: str) -> "Calibration":
        """The content of a file; `path` says in errors where it is from."""
        try:
            values = from_json(data)
            written_id = values.pop("id")
            calibration = cls.model_validate(values)
        except ValidationError as error:
            entry = error.errors()[0]
            name = ".".join(str(part) for part in entry["loc"])
            raise CalibrationError(
                f"calibration {path}: {shown(name)[1:-1]} = {shown(entry['input'])}: {entry['msg']}"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
            raise CalibrationError(f"calibration {path} is damaged ({error}); calibrate again") from None
        if calibration.id != written_id:
            raise CalibrationError(
                f"calibration {path} was changed after it was made as {shown(written_id)}; calibrate again"
            )
        return calibration
