"""Two 640x480 depth images to one cloud of 1024 points: CloudPipeline beside Open3D, on one core, in one run.

    python benchmarks/perception.py [--quick]

This is the pure pipeline: no node, no transport. The images are rendered (the front camera and one from the side), with
noise, holes and flying pixels as a RealSense has them. Every round times both Open3D pipelines once and ours several
times: one with the same steps in the same order, and one in the order that suits Open3D best (voxels before
outliers). The last line is JSON: hz and p99_ms by wall clock, and ratio, Open3D's median time (same order) by ours;
ratio is null without open3d (requirements-bench.txt).
"""

import argparse
import json
import os
import statistics
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
from scipy.spatial import cKDTree

from tmrl_ros import fr3
from tmrl_ros.config import CloudConfig, Shift, Task, Timing
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.robot.view import base_from_camera, place_camera

try:
    import open3d
except ImportError as error:
    open3d = None
    print(f"no comparison, since open3d does not load ({error}); see requirements-bench.txt")

HEIGHT, WIDTH, MOMENTS = 480, 640, 8
SIDE_M, TARGET_M = (0.6, -0.9, 0.6), (0.5, 0.05, 0.05)
WARM_UP = 3
OURS_A_ROUND = 5


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="20 rounds rather than 200")
    rounds = 20 if arguments.parse_args().quick else 200
    config, (cameras, moments) = CloudConfig(), rendered_moments()
    pipelines = {"tmrl_ros": CloudPipeline(config, cameras).build}
    if open3d:
        for name, voxels_first in (("open3d", False), ("open3d, best order", True)):
            pipelines[name] = Open3dPipeline(config, cameras, voxels_first).build
        report_agreement(pipelines, moments, config.voxel_m)
    times = measure(pipelines, moments, rounds)
    print("the pure pipeline on one core, not yet in the node:")
    for name, (wall_s, cpu_s) in times.items():
        print(
            f"{name:20} wall: median {1e3 * statistics.median(wall_s):6.2f} p99 {1e3 * np.percentile(wall_s, 99):6.2f} "
            f"ms   processor: median {1e3 * statistics.median(cpu_s):6.2f} p99 {1e3 * np.percentile(cpu_s, 99):6.2f} ms"
        )
    ours_s = times["tmrl_ros"][0]
    ratio = statistics.median(times["open3d"][0]) / statistics.median(ours_s) if open3d else None
    if open3d:
        best, ours = (statistics.median(times[name][1]) for name in ("open3d, best order", "tmrl_ros"))
        print(f"ratio to Open3D in its best order, processor time: {best / ours:.1f}")
    print(
        json.dumps(
            {
                "hz": round(1 / statistics.mean(ours_s), 1),
                "p99_ms": round(1e3 * float(np.percentile(ours_s, 99)), 2),
                "ratio": ratio and round(ratio, 2),
            }
        )
    )


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


def report_agreement(pipelines, moments, voxel_m):
    """How far the clouds' points lie from one another: they are to be the same scene."""
    for moment in moments[:1]:
        clouds = {name: build(moment) for name, build in pipelines.items()}
        ours = clouds.pop("tmrl_ros")
        for name, other in clouds.items():
            apart_m = np.concatenate([cKDTree(ours).query(other)[0], cKDTree(other).query(ours)[0]])
            print(
                f"{name}: {len(other)} points; to the nearest of ours and back, median {1e3 * np.median(apart_m):.1f} "
                f"and p99 {1e3 * np.percentile(apart_m, 99):.1f} mm, voxels of {1e3 * voxel_m:.0f} mm"
            )


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
