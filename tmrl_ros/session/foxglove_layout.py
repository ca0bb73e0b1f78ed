"""Panels for `tmrl view`, as a file that Foxglove and Lichtblick import."""

import json
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros import fr3


def write(file: Path, cameras: Sequence[str]) -> None:
    """The base frame, an overlay a camera, sigma, success and the log."""
    panels = {
        "3D!scene": {"followTf": fr3.BASE_FRAME, "topics": {name: {"visible": True} for name in _drawn(cameras)}},
        **{f"Image!{name}": {"imageMode": {"imageTopic": f"/overlay/{name}"}} for name in cameras},
        "Plot!sigma": {"paths": [_series("/sigma.sigma")]},
        "Plot!success": {"paths": [_series("/session.success"), _series("/session.recent_success")]},
        "RosOut!log": {"topicToRender": "/log"},
    }
    scene, *others = panels
    layout = {"direction": "row", "first": scene, "second": _stacked(others), "splitPercentage": 60}
    content = {"configById": panels, "globalVariables": {}, "userNodes": {}, "layout": layout}
    file.write_text(json.dumps(content, indent=1))


def _drawn(cameras):
    through = [(f"/raw/{name}", f"/camera/{name}/color", f"/camera/{name}/calibration") for name in cameras]
    return ["/cloud", "/crop", "/workspace", "/tcp", "/objects", *(topic for topics in through for topic in topics)]


def _series(value):
    return {"value": value, "enabled": True, "timestampMethod": "receiveTime"}


def _stacked(names):
    """Panels one below the other, all as high."""
    if len(names) == 1:
        return names[0]
    return {
        "direction": "column", "first": names[0], "second": _stacked(names[1:]), "splitPercentage": 100 / len(names),
    }  # fmt: skip
