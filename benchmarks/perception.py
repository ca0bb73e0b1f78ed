"""Two 640x480 depth images to one cloud of 1024 points: CloudPipeline beside Open3D, on one core, in one run.

    python benchmarks/perception.py [--quick]

First the perception node as a process: from the publication of both depth images to the arrival of their Observation,
over DDS. Then the pure pipeline: no node, no transport. The images are rendered (the front camera and one from the
side), with noise, holes and flying pixels as a RealSense has them. Every round times both Open3D pipelines once and
ours several times: one with the same steps in the same order, and one in the order that suits Open3D best (voxels
before outliers). The last line is JSON and of the pure pipeline: hz and p99_ms by wall clock, and ratio, Open3D's
median time (same order) by ours; ratio is null without open3d (requirements-bench.txt). Without --quick the
outcome is also written to benchmarks/results/perception.md.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import rclpy
from rclpy.node import Node
from scipy.spatial import cKDTree

from tmrl_ros import fr3
from tmrl_ros.config import CloudConfig, Shift, Task, Timing
from tmrl_ros.nodes import convert, runtime, topics
from tmrl_ros.nodes.camera_topics import camera_topics, info_msg
from tmrl_ros.perception.calibration import Calibration, CameraCalibration
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.handeye import HandEye
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.view import base_from_camera, place_camera
from tmrl_ros.session.domain import reserved_domain
from tmrl_ros.types import RobotState

try:
    import open3d
except ImportError as error:
    open3d = None
    print(f"no comparison, since open3d does not load ({error}); see requirements-bench.txt")

HEIGHT, WIDTH, MOMENTS = 480, 640, 8
SIDE_M, TARGET_M = (0.6, -0.9, 0.6), (0.5, 0.05, 0.05)
WARM_UP = 3
OURS_A_ROUND = 5
RESULT = Path(__file__).parent / "results" / "perception.md"
PERIOD_S, PATIENCE_S = 0.1, 30.0  # of the node's measurement: control rate, and until it has started


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="20 rounds rather than 200")
    quick = arguments.parse_args().quick
    rounds = 20 if quick else 200
    config, (cameras, moments) = CloudConfig(), rendered_moments()
    with reserved_domain() as domain:
        node_ms = 1e3 * np.array(on_all_cores(measure_node, cameras, moments, rounds, domain))
    pipelines = {"tmrl_ros": CloudPipeline(config, cameras).build}
    if open3d:
        for name, voxels_first in (("open3d", False), ("open3d, best order", True)):
            pipelines[name] = Open3dPipeline(config, cameras, voxels_first).build
    agreement = agreement_lines(pipelines, moments, config.voxel_m) if open3d else []
    times = measure(pipelines, moments, rounds)
    lines = [
        f"in the node, from two depth images to their Observation over DDS, all cores: median {np.median(node_ms):.1f} "
        f"p99 {np.percentile(node_ms, 99):.1f} ms of {len(node_ms)}",
        *agreement,
        "the pure pipeline on one core:",
        *(time_line(name, *both) for name, both in times.items()),
    ]
    ours_s = times["tmrl_ros"][0]
    ratio = statistics.median(times["open3d"][0]) / statistics.median(ours_s) if open3d else None
    if open3d:
        best, ours = (statistics.median(times[name][1]) for name in ("open3d, best order", "tmrl_ros"))
        lines.append(f"ratio to Open3D in its best order, processor time: {best / ours:.1f}")
    figures = {
        "hz": round(1 / statistics.mean(ours_s), 1),
        "p99_ms": round(1e3 * float(np.percentile(ours_s, 99)), 2),
        "ratio": ratio and round(ratio, 2),
    }
    print("\n".join([*lines, json.dumps(figures)]))
    if not quick:
        write_result([*lines, json.dumps(figures)])


def time_line(name, wall_s, cpu_s):
    (wall, wall_p99), (cpu, cpu_p99) = (1e3 * np.percentile(seconds, (50, 99)) for seconds in (wall_s, cpu_s))
    return (
        f"{name:20} wall: median {wall:6.2f} p99 {wall_p99:6.2f} ms   "
        f"processor: median {cpu:6.2f} p99 {cpu_p99:6.2f} ms"
    )


def write_result(lines):
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load average at the end {os.getloadavg()[0]:.1f}"
    figures = "\n".join(f"    {line}" for line in lines)
    RESULT.write_text(f"# Depth images to a cloud\n\n`python benchmarks/perception.py`, {machine}.\n\n{figures}\n")


def rendered_moments():
    """The cameras by name, and MOMENTS dicts of depth images (uint16 mm): arm and cube elsewhere in each."""
    sim, rng = SimRobot(Task(), Timing(), Shift(), 0), np.random.default_rng(0)
    stored = []
    for moment in range(MOMENTS):
        sim.reset_objects(0, moment)
        qpos = sim.qpos()
        qpos[:7] = fr3.HOME_Q + rng.uniform(-0.15, 0.15, 7)
        stored.append(qpos)
    cameras, moments = {}, [{} for _ in stored]
    for name in ("front", "side"):
        if name == "side":
            place_camera(sim, SIDE_M, TARGET_M)
        focal = sim.focal_px(HEIGHT)
        intrinsics = Intrinsics(WIDTH, HEIGHT, (focal, focal), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
        cameras[name] = CameraModel(intrinsics, base_from_camera(sim))
        for depths, qpos in zip(moments, stored, strict=True):
            depths[name] = as_measured(sim.render_depth(qpos, height=HEIGHT, width=WIDTH), rng)
    return cameras, moments


def as_measured(depth_m, rng):
    """uint16 mm: 1.5 mm of noise, one pixel in 500 flies by 6 cm, one in 20 sees nothing."""
    depth = 1000 * depth_m + rng.normal(0, 1.5, depth_m.shape) + 60 * (rng.random(depth_m.shape) < 0.002)
    seen = (depth_m < 65) & (rng.random(depth_m.shape) > 0.05)
    return np.where(seen, np.round(depth), 0).astype(np.uint16)


def on_all_cores(work, *arguments):
    """What `work` gives where this process, and those it starts, may use every core."""
    if not hasattr(os, "sched_setaffinity"):
        return work(*arguments)
    one_core = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count()))
    try:
        return work(*arguments)
    finally:
        os.sched_setaffinity(0, one_core)


class Lab(Node):
    """Two cameras and a robot, and an ear for observations; times in s by stamp of the images in ns."""

    def __init__(self, cameras):
        super().__init__("lab")
        self.heard_s, self._lenses = {}, {name: camera.intrinsics for name, camera in cameras.items()}
        self._cameras = {name: [t.publisher(self) for t in camera_topics(f"camera/{name}")] for name in cameras}
        self._pose, self._fingers = (t.publisher(self) for t in (topics.CURRENT_POSE, topics.GRIPPER_STATES))
        topics.OBSERVATION.subscribe(self, self._on_observation)

    def publish(self, depths):
        """The stamp of what was published, ns."""
        stamp_ns = time.time_ns()
        self._pose.publish(convert.pose_msg(stamp_ns, fr3.HOME_TCP, (1, 0, 0, 0)))
        self._fingers.publish(convert.fingers_msg(RobotState(stamp_ns, np.zeros(7), np.zeros(7), 0.04, np.zeros(3))))
        for name, (_, depth, info) in self._cameras.items():
            info.publish(info_msg(stamp_ns, name, self._lenses[name]))
            depth.publish(convert.image_msg(stamp_ns, name, depths[name]))
        return stamp_ns

    def _on_observation(self, message):
        stamp_ns = convert.stamp_of(message)
        self.heard_s[stamp_ns] = (time.time_ns() - stamp_ns) * 1e-9


def measure_node(cameras, moments, rounds, domain):
    """Seconds from publication to the observation's arrival, of `rounds` pairs of images, warm-up left out."""
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    runtime.use_loopback(os.environ)
    rclpy.init()
    lab, executor = Lab(cameras), runtime.make_executor()
    executor.add_node(lab)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(node_command(cameras, Path(folder) / "calibration.json"))
        sent, end_s = [], time.monotonic() + PATIENCE_S + 2 * rounds * PERIOD_S
        while len(lab.heard_s) < WARM_UP + rounds:
            if time.monotonic() > end_s or process.poll() is not None:
                raise SystemExit(f"{len(lab.heard_s)} observations came for {len(sent)} pairs of images")
            sent.append(lab.publish(moments[len(sent) % len(moments)]))
            next_s = time.monotonic() + PERIOD_S
            while (left_s := next_s - time.monotonic()) > 0:
                executor.spin_once(timeout_sec=left_s)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    rclpy.shutdown()
    return list(lab.heard_s.values())[WARM_UP:]


def node_command(cameras, file):
    """The perception node with these cameras, whose true poses stand in `file`."""
    known = {}
    for name, camera in cameras.items():
        solved = HandEye(camera.base_from_camera, 10, 0.1, 0.001, 0.1, 0.0005)
        known[name] = CameraCalibration.of(name, "eye_to_hand", camera.intrinsics, solved)
    Calibration(cameras=known).write(file)
    options = {"timing.lockstep": False, "calibration": file, "state": "tcp_position gripper_width"}
    options |= {"stream.silence_s": 5.0, "stream.age_s": 1.0, "stream.hz": 1 / PERIOD_S, "stream.frozen_frames": 0}
    options |= {f"cameras.{name}.{side}_px": 0 for name in cameras for side in ("width", "height")}
    words = [part for name, value in options.items() for part in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", "tmrl_ros.nodes", "perception", "--ros-args", *words]


class Open3dPipeline:
    """The same steps, written as Open3D's documentation does."""

    def __init__(self, config, cameras, voxels_first):
        self._config, self._voxels_first = config, voxels_first
        self._cameras = {
            name: (
                open3d.camera.PinholeCameraIntrinsic(
                    WIDTH, HEIGHT, *camera.intrinsics.focal_px, *camera.intrinsics.centre_px
                ),
                np.linalg.inv(camera.base_from_camera),
            )
            for name, camera in cameras.items()
        }
        low = (*config.crop_min_m[:2], config.table_height_m + config.table_clearance_m)  # the table goes with the crop
        self._box = open3d.geometry.AxisAlignedBoundingBox(low, config.crop_max_m)

    def build(self, depths):
        cloud = open3d.geometry.PointCloud()
        for name, (intrinsic, extrinsic) in self._cameras.items():
            image = open3d.geometry.Image(depths[name])
            seen = open3d.geometry.PointCloud.create_from_depth_image(
                image, intrinsic, extrinsic, 1 / self._config.depth_unit_m, depth_trunc=65.0
            )
            cloud += seen.crop(self._box)
        radius_m = 1.5 * self._config.voxel_m  # as far as a voxel's neighbours reach
        if self._voxels_first:
            cloud = cloud.voxel_down_sample(self._config.voxel_m)
            cloud, _ = cloud.remove_radius_outlier(4, radius_m)  # of the nine of a surface
        else:
            cloud, _ = cloud.remove_radius_outlier(self._config.neighbours, radius_m)
            cloud = cloud.voxel_down_sample(self._config.voxel_m)
        return np.asarray(cloud.farthest_point_down_sample(self._config.points).points, np.float32)


def agreement_lines(pipelines, moments, voxel_m):
    """How far the clouds' points lie from one another: they are to be the same scene."""
    clouds = {name: build(moments[0]) for name, build in pipelines.items()}
    ours, lines = clouds.pop("tmrl_ros"), []
    for name, other in clouds.items():
        apart_m = np.concatenate([cKDTree(ours).query(other)[0], cKDTree(other).query(ours)[0]])
        lines.append(
            f"{name}: {len(other)} points; to the nearest of ours and back, median {1e3 * np.median(apart_m):.1f} "
            f"and p99 {1e3 * np.percentile(apart_m, 99):.1f} mm, voxels of {1e3 * voxel_m:.0f} mm"
        )
    return lines


def measure(pipelines, moments, rounds):
    """name -> (wall, processor) seconds of each round, in turns."""
    times = {name: ([], []) for name in pipelines}
    turns = [name for name in pipelines for _ in range(OURS_A_ROUND if name == "tmrl_ros" else 1)]
    for k in range(WARM_UP + rounds):
        for turn, name in enumerate(turns):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            pipelines[name](moments[(k + turn) % len(moments)])
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            if k >= WARM_UP:
                times[name][0].append(wall_s)
                times[name][1].append(cpu_s)
    return times


if __name__ == "__main__":
    main()
