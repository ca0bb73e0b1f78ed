"""`tmrl view` beside the real perception node: what it writes, where it listens, and that it says nothing."""

import base64
import json
import os
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from test_camera_perception import Lab

from tmrl_ros.nodes import convert, topics
from tmrl_ros.parameters import write_parameters
from tmrl_ros.perception.overlay import AFTER, BEFORE
from tmrl_ros.types import Decision, EpisodeEvent, Mode, Modulation, SessionState, SessionStatus

sys.path.append(str(Path(__file__).parents[1] / "perception"))
sys.path.append(str(Path(__file__).parents[1] / "session"))
import tabletop
from live import rgb, viewer, written, xyz

LISTEN = "0A"
SIGMA, REASON = 0.25, "observations are old"


def perception_parameters(folder):
    tabletop.calibration().write(folder / "calibration.json")
    return {
        "timing": {"lockstep": False},
        "cameras": {"front": {"width_px": 64, "height_px": 48}},
        "calibration": str(folder / "calibration.json"),
        "state": "tcp_position",
        "stream": {"silence_s": 1.0, "age_s": 1.0},  # this machine may be busy
        "cloud": tabletop.CLOUD,
    }


def flat(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def listening(pid):
    """(address, port) of each TCP socket on which a process listens, IPv6 ones by their hexadecimal address."""
    links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = row.split()
            address, port = words[1].split(":")
            if words[3] == LISTEN and words[9] in own:
                dotted = ".".join(str(byte) for byte in bytes.fromhex(address)[::-1]) if table == "tcp" else address
                found.add((dotted, int(port, 16)))
    return found


def greeting(port):
    """What the server says of itself to whoever connects."""
    key = base64.b64encode(bytes(16)).decode()
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        data = b""
        while b"\r\n\r\n" not in data or b"}" not in data.partition(b"\r\n\r\n")[2]:
            data += connection.recv(4096)
    assert b" 101 " in data.partition(b"\r\n")[0]
    text = data.partition(b"\r\n\r\n")[2].decode(errors="replace")
    return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]


def tell_of_a_session(lab, decisions, events, session):
    """One decision and a session that holds; the stamp, ns, and the status with which it ends."""
    now_ns = lab.get_clock().now().nanoseconds
    decision = Decision(
        now_ns, now_ns + 10**8, 3, 7, Mode.POLICY, np.zeros((8, 4), np.float32), Modulation(np.zeros(4), SIGMA), 1,
        -1.0, False, False, False, False, 30.0,
    )  # fmt: skip
    event = EpisodeEvent(now_ns, 3, "ended", Mode.POLICY, False, True, True, 8, "success", 90.0)
    status = {"robot_time_s": 90.0, "episode": 4, "episodes": 4, "successes": 3, "recent_success": 0.75}
    status |= {"decisions": 8, "holds": 1, "reason": REASON}
    decisions.publish(convert.to_msg(decision))
    events.publish(convert.to_msg(event))
    session.publish(convert.to_msg(SessionStatus(now_ns, SessionState.RUNNING, Mode.HOLD, **status)))
    return now_ns, SessionStatus(now_ns + 1, SessionState.ENDED, Mode.HOLD, **status | {"reason": ""})


def test_it_writes_what_was_seen_listens_on_loopback_alone_and_publishes_nothing(ros, tmp_path):
    context, start = ros
    parameters = perception_parameters(tmp_path)
    write_parameters(tmp_path / "parameters.yaml", {"perception": parameters})
    start("perception", **dict(flat(parameters)))
    lab = Lab(context)
    decisions, events, session = (
        topic.publisher(lab) for topic in (topics.DECISION, topics.EPISODE_EVENT, topics.SESSION_STATUS)
    )
    with viewer(tmp_path, "--file", tmp_path / "seen.mcap", "--look-hz", "10") as (process, port):
        lab.until(lambda: lab.count_subscribers(topics.SESSION_STATUS.name))
        assert listening(process.pid) == {("127.0.0.1", port)}
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.nice(0) + 10)
        hello = greeting(port)
        assert hello["op"] == "serverInfo" and not hello["capabilities"]
        node = f"view_{process.pid}"
        lab.until(lambda: node in lab.get_node_names())
        published = dict(lab.get_publisher_names_and_types_by_node(node, "/"))
        assert published.keys() <= {"/parameter_events"}  # rclpy's own
        assert not lab.get_client_names_and_types_by_node(node, "/")
        for name in (topics.OBSERVATION.name, topics.SESSION_STATUS.name, lab.depth.topic_name):
            (own,) = (info for info in lab.get_subscriptions_info_by_topic(name) if info.node_name == node)
            assert own.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            assert own.qos_profile.durability == DurabilityPolicy.VOLATILE
        lab.more(20)
        told_ns, end = tell_of_a_session(lab, decisions, events, session)
        lab.more(5)
        session.publish(convert.to_msg(end))
        lab.until(lambda: process.poll() is not None)
        assert process.returncode == 0
    check(written(tmp_path / "seen.mcap"), lab, told_ns)
    lab.destroy_node()


def check(seen, lab, told_ns):
    observed = {observation.stamp_ns: observation for observation in lab.observations}
    assert len(seen["/cloud"]) >= 5 and len(seen["/overlay/front"]) >= 5
    for stamp_ns, cloud in seen["/cloud"]:
        assert (cloud.timestamp.seconds * 10**9 + cloud.timestamp.nanos, cloud.frame_id) == (stamp_ns, "fr3_link0")
        np.testing.assert_array_equal(xyz(cloud), observed[stamp_ns].cloud)
        assert rgb(cloud) == {AFTER}
    for _, raw in seen["/raw/front"]:
        points = xyz(raw)
        assert 1000 < len(points) <= 5000 and rgb(raw) == {BEFORE}
        on_block = points[:, 2] > tabletop.BLOCK_M / 2  # before filtering, the table is there too
        assert 0.02 < on_block.mean() < 0.5
        np.testing.assert_allclose(points[on_block, 2], tabletop.BLOCK_M, atol=0.005)
        np.testing.assert_allclose(points[~on_block, 2], 0.0, atol=0.005)
        np.testing.assert_allclose(points[on_block, :2].mean(0), (0.5, 0.0), atol=0.01)
    for stamp_ns, picture in seen["/overlay/front"]:
        assert stamp_ns in observed
        image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert image.shape == (6 * tabletop.HEIGHT, 6 * tabletop.WIDTH, 3)
        rows, columns = np.nonzero((image[..., 1] > 180) & (image[..., 0] < 90))  # the final cloud, on the block
        assert len(rows) > 300
        assert rows.min() >= 6 * 43 and rows.max() < 6 * 77 and columns.min() >= 6 * 58 and columns.max() < 6 * 102
    check_places(seen)
    check_session(seen, told_ns)


def check_places(seen):
    (cube,) = seen["/crop"][0][1].entities[0].cubes
    low = np.array([getattr(cube.pose.position, axis) - getattr(cube.size, axis) / 2 for axis in "xyz"])
    np.testing.assert_allclose(low, (0.2, -0.4, -0.05))
    tcp = seen["/tcp"][-1][1].entities[0].spheres[0].pose.position
    np.testing.assert_allclose((tcp.x, tcp.y, tcp.z), (0.4, 0.0, 0.3))
    transform = seen["/tf"][0][1].transforms[0]
    assert (transform.parent_frame_id, transform.child_frame_id) == ("fr3_link0", "front")
    assert (transform.translation.x, transform.translation.z, transform.rotation.x) == (0.5, tabletop.ABOVE_M, 1.0)
    np.testing.assert_allclose(list(seen["/camera/front/calibration"][0][1].K), tabletop.INTRINSICS.matrix.ravel())
    assert len(seen["/workspace"]) > 1 and seen["/camera/front/color"]


def check_session(seen, told_ns):
    assert seen["/sigma"] == [(told_ns, {"sigma": SIGMA})]
    stamp_ns, session = seen["/session"][0]
    assert stamp_ns == told_ns and (session["success"], session["robot_time_min"]) == (0.75, 1.5)
    lines = {line.message for _, line in seen["/log"]}
    assert lines >= {f"running, HOLD: {REASON}", "episode 3 ended, success", "ended, HOLD"}
