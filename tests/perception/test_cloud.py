"""The cloud pipeline: every step against a plain version of itself, and the whole against what must come out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.config import CloudConfig
from tmrl_ros.errors import ConfigError, FrameError
from tmrl_ros.perception.camera import CameraModel, Intrinsics
from tmrl_ros.perception.cloud import CloudPipeline
from tmrl_ros.perception.downsample import VoxelGrid, farthest_points, fixed_size
from tmrl_ros.perception.gate import DepthGate, Plane
from tmrl_ros.perception.table import fit_table

WIDTH, HEIGHT = 64, 48
INTRINSICS = Intrinsics(WIDTH, HEIGHT, (55.0, 55.0), (31.5, 23.5))
LOW, HIGH = (0.2, -0.4, -0.05), (0.8, 0.4, 0.6)


def look(position, target=(0.5, 0.0, 0.1)) -> CameraModel:
    """A camera at `position` that looks at `target`."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.column_stack([right, np.cross(forward, right), forward]), position
    return CameraModel(INTRINSICS, pose)


FRONT, SIDE = look((1.35, 0.05, 0.72)), look((0.5, -0.9, 0.6))


def plain_points(camera, depth_m):
    """Every pixel's point, float64 [n, 3], by the book."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    (fx, fy), (cx, cy) = camera.intrinsics.focal_px, camera.intrinsics.centre_px
    local = np.stack([(u - cx) / fx * depth_m, (v - cy) / fy * depth_m, depth_m], -1).reshape(-1, 3)
    return local @ camera.base_from_camera[:3, :3].T + camera.base_from_camera[:3, 3]


def table_depth(camera, height_m=0.0, normal=(0.0, 0.0, 1.0)):
    """float32 [height, width] m: what the camera sees of the plane normal . p = height_m."""
    normal = np.asarray(normal)
    slope = normal @ camera.directions()
    depth = (height_m - normal @ camera.base_from_camera[:3, 3]) / slope
    return np.where(depth > 0, depth, 0).reshape(HEIGHT, WIDTH).astype(np.float32)


def scene_depth(camera):
    """A table at 0 with a block of 20 x 20 x 10 cm on it, whose top alone is drawn, uint16 mm."""
    depth = table_depth(camera)
    top = table_depth(camera, 0.1)
    points = plain_points(camera, top).reshape(HEIGHT, WIDTH, 3)
    on_block = (np.abs(points[..., :2] - (0.5, 0.0)) < 0.1).all(-1)
    return np.round(np.where(on_block, top, depth) * 1000).astype(np.uint16)


def config(**changes):
    return CloudConfig(**{"points": 128, "voxel_m": 0.01, "neighbours": 1, "points_min": 16} | changes)


def pipeline(cameras=None, seed=0, **changes):
    return CloudPipeline(config(**changes), cameras or {"front": FRONT, "side": SIDE}, seed)


DEPTHS = {"front": scene_depth(FRONT), "side": scene_depth(SIDE)}


# -- gate: crop and table


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
@settings(max_examples=50)
def test_gate_keeps_exactly_the_points_in_the_box_above_the_plane(seed, counts, tilted):
    rng = np.random.default_rng(seed)
    camera = look(rng.uniform((-0.5, -1, 0.0), (1.5, 1, 1.0)), rng.uniform((0.3, -0.2, 0), (0.6, 0.2, 0.2)))
    normal = (np.sin(0.2), 0.0, np.cos(0.2)) if tilted else (0.0, 0.0, 1.0)
    depth_m = rng.uniform(0, 2.5, (HEIGHT, WIDTH)).astype(np.float32)
    depth = np.round(depth_m * 1000).astype(np.uint16) if counts else depth_m
    points, pixels = DepthGate(camera, LOW, HIGH, Plane(normal, 0.05), 0.001).points(depth)
    wanted = plain_points(camera, depth * 0.001 if counts else depth)
    room = np.minimum((wanted - LOW).min(1), (np.asarray(HIGH) - wanted).min(1))  # to the nearest face, m
    room = np.minimum(room, wanted @ normal - 0.05)
    seen = depth.ravel() > 0
    kept = np.isin(np.arange(depth.size), pixels)
    np.testing.assert_array_equal(kept[(np.abs(room) > 1e-6)], (seen & (room > 0))[np.abs(room) > 1e-6])
    np.testing.assert_allclose(points.T, wanted[pixels], atol=2e-6)


@pytest.mark.parametrize("nothing", [0, np.nan, np.inf, -1.0])
def test_pixels_that_see_nothing_make_no_point_even_where_the_camera_is_in_the_crop(nothing):
    gate = DepthGate(look((0.5, -0.2, 0.3)), LOW, HIGH, None, 0.001)
    assert gate.points(np.full((HEIGHT, WIDTH), nothing, np.float32))[0].shape == (3, 0)
    assert gate.points(np.zeros((HEIGHT, WIDTH), np.uint16))[0].shape == (3, 0)


def test_largest_count_is_not_mistaken_for_a_near_one():
    gate = DepthGate(FRONT, LOW, HIGH, None, 0.001)
    assert gate.points(np.full((HEIGHT, WIDTH), 65535, np.uint16))[0].shape == (3, 0)


# -- voxels and outliers


@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
@settings(max_examples=30)
def test_centroids_are_the_means_of_the_points_of_a_voxel(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform(LOW, HIGH, (count, 3)).astype(np.float32)
    points[: count // 2] = points[0] + rng.normal(0, 0.01, (count // 2, 3)).clip(-0.02, 0.02)
    points = np.clip(points, LOW, HIGH).astype(np.float32)
    values = rng.random((2, count)).astype(np.float32)
    found = VoxelGrid(LOW, HIGH, 0.02, 1).centroids(points.T, values)
    cells = np.floor(points * np.float32(1 / 0.02) + (2 - np.array(LOW) / 0.02).astype(np.float32)).astype(int)
    wanted = [
        np.concatenate([points[(cells == cell).all(1)].mean(0), values[:, (cells == cell).all(1)].mean(1)])
        for cell in np.unique(cells, axis=0)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_lonely_points_go_and_neighbours_across_voxels_count():
    grid = VoxelGrid(LOW, HIGH, 0.01, 4)
    crowd = np.array([[0.5, 0, 0.1], [0.511, 0, 0.1], [0.5, 0.011, 0.1], [0.5, 0, 0.111]])  # four voxels that touch
    lonely = np.array([[0.3, 0.2, 0.3], [0.3, 0.2, 0.3001], [0.3, 0.2, 0.3002], [0.7, -0.2, 0.3]])
    found = grid.centroids(np.concatenate([crowd, lonely]).T.astype(np.float32), ())
    np.testing.assert_allclose(np.sort(found, 0), np.sort(crowd, 0), atol=1e-6)
    beside = np.array([[0.49], [0], [0.1]], np.float32)
    assert len(grid.centroids(beside, ())) == 0, "the crowd of the last cloud still counts"


# -- farthest points


@given(st.integers(0, 2**32 - 1), st.integers(2, 120))
@settings(max_examples=30)
def test_each_chosen_point_is_the_farthest_from_those_before(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform(LOW, HIGH, (150, 3)).astype(np.float32)
    chosen = farthest_points(points, count, int(rng.integers(150)))
    assert len(set(chosen.tolist())) == count
    to_all = np.linalg.norm(points[:, None] - points, axis=2)
    for k in range(1, count):
        gap = to_all[:, chosen[:k]].min(1)
        assert gap[chosen[k]] >= gap.max() - 1e-5


def test_equal_points_are_chosen_once_each():
    assert sorted(farthest_points(np.ones((9, 3), np.float32), 9, 4)) == list(range(9))


def test_fewer_points_than_wanted_repeat_all_of_them():
    points = np.random.default_rng(0).random((10, 3)).astype(np.float32)
    cloud = fixed_size(points, 25, 0.5)
    assert cloud.shape == (25, 3)
    assert {tuple(p) for p in cloud[:10]} == {tuple(p) for p in points}
    np.testing.assert_array_equal(cloud[10:20], cloud[:10])


# -- the whole


def test_cloud_is_the_block_without_the_table():
    cloud = pipeline().build(DEPTHS)
    assert cloud.shape == (128, 3) and cloud.dtype == np.float32
    np.testing.assert_allclose(cloud[:, 2], 0.1, atol=1e-3)
    assert np.all(np.abs(cloud[:, :2] - (0.5, 0)) < 0.105)
    assert np.ptp(cloud[:, :2], axis=0).min() > 0.17


def test_each_camera_adds_what_it_sees():
    half = {"front": DEPTHS["front"].copy(), "side": DEPTHS["side"].copy()}
    for name, camera in (("front", FRONT), ("side", SIDE)):
        y = plain_points(camera, half[name] * 1e-3)[:, 1].reshape(HEIGHT, WIDTH)
        half[name][y > 0 if name == "front" else y < 0] = 0
    cloud = pipeline().build(half)
    assert cloud[:, 1].min() < -0.05 and cloud[:, 1].max() > 0.05


def test_same_images_and_seed_give_the_same_cloud_and_another_seed_another_order():
    first, again, other = (pipeline(seed=seed).build(DEPTHS) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    reused = pipeline()
    reused.build({name: np.roll(depth, 5, 0) for name, depth in DEPTHS.items()})
    np.testing.assert_array_equal(reused.build(DEPTHS), first)


def test_metres_and_millimetres_agree():
    metres = {name: (depth * np.float32(0.001)).astype(np.float32) for name, depth in DEPTHS.items()}
    np.testing.assert_allclose(pipeline().build(metres), pipeline().build(DEPTHS), atol=1e-5)


def test_colour_follows_its_point():
    """Red tells x and green y of what a pixel sees: the cloud's colours must tell its own x and y."""
    colours = {}
    for name, camera in (("front", FRONT), ("side", SIDE)):
        points = plain_points(camera, DEPTHS[name] * 1e-3).reshape(HEIGHT, WIDTH, 3)
        scaled = np.clip((points - (0.3, -0.2, 0)) / 0.4 * 255, 0, 255)
        colours[name] = np.round(scaled).astype(np.uint8)
    cloud = pipeline(colour=True).build(DEPTHS, colours)
    assert cloud.shape == (128, 6)
    np.testing.assert_allclose(cloud[:, 3:5], (cloud[:, :2] - (0.3, -0.2)) / 0.4, atol=0.01)
    white = dict.fromkeys(DEPTHS, np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    np.testing.assert_allclose(pipeline(colour=True).build(DEPTHS, white)[:, 3:], 1, atol=1e-6)


def test_table_at_an_unknown_height_and_tilt_is_found_and_removed():
    normal = np.array([np.sin(0.05), 0, np.cos(0.05)])
    depths = {}
    for name, camera in (("front", FRONT), ("side", SIDE)):
        depth, block = table_depth(camera, 0.03, normal), table_depth(camera, 0.13, normal)
        points = plain_points(camera, block).reshape(HEIGHT, WIDTH, 3)
        on_block = (np.abs(points[..., :2] - (0.5, 0.0)) < 0.1).all(-1)
        depths[name] = np.round(np.where(on_block, block, depth) * 1000).astype(np.uint16)
    cloud_pipeline = pipeline(table="fit")
    cloud = cloud_pipeline.build(depths)
    assert np.degrees(np.arccos(cloud_pipeline.table.normal @ normal)) < 0.2
    assert cloud_pipeline.table.offset_m == pytest.approx(0.03, abs=0.002)
    np.testing.assert_allclose(cloud @ normal, 0.13, atol=2e-3)


def test_table_stays_where_it_is_wanted():
    assert pipeline(table="keep").build(DEPTHS)[:, 2].min() < 0.001


def test_moved_camera_sees_from_its_new_pose():
    moved = pipeline({"front": SIDE})
    moved.move("front", FRONT)
    np.testing.assert_array_equal(
        moved.build({"front": DEPTHS["front"]}), pipeline({"front": FRONT}).build({"front": DEPTHS["front"]})
    )


# -- refusals


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((HEIGHT, WIDTH), np.uint16), r"0 voxels remain.*front: 0 points"),
        (np.full((HEIGHT, WIDTH), np.nan, np.float32), r"0 voxels remain.*front: 0 points"),
        (np.zeros((HEIGHT, WIDTH // 2), np.uint16), r"shape \(48, 32\).*\(48, 64\)"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint16), r"shape \(48, 64, 3\)"),
        (np.zeros((HEIGHT, WIDTH), np.uint8), r"uint8; valid: uint16"),
        (np.zeros((HEIGHT, WIDTH), np.float64), r"float64; valid: uint16"),
    ],
)
def test_image_that_makes_no_cloud_is_refused(image, sentence):
    with pytest.raises(FrameError, match=sentence):
        pipeline({"front": FRONT}).build({"front": image})


def test_missing_image_is_refused_by_name():
    with pytest.raises(FrameError, match=r"no depth image of camera side; there are: front"):
        pipeline().build({"front": DEPTHS["front"]})
    with pytest.raises(FrameError, match=r"no colour image of camera front; there are: none"):
        pipeline(colour=True).build(DEPTHS)
    with pytest.raises(FrameError, match=r"colour of front is uint8 \(48, 64\)"):
        pipeline(colour=True).build(DEPTHS, dict.fromkeys(DEPTHS, np.zeros((HEIGHT, WIDTH), np.uint8)))


def test_no_table_is_not_taken_for_one():
    points = np.random.default_rng(0).uniform(LOW, HIGH, (3000, 3)).T.astype(np.float32)
    with pytest.raises(FrameError, match="no table to be seen"):
        fit_table(points, 0)
    with pytest.raises(FrameError, match="no table to be seen"):
        fit_table(points[:, :2], 0)
    wall = np.copy(points)
    wall[0] = 0.7
    with pytest.raises(FrameError, match="no table to be seen"):
        fit_table(wall, 0)


@pytest.mark.parametrize("changes", [{"crop_min_m": (0.9, -0.4, 0)}, {"voxel_m": 0.001, "crop_max_m": (9, 9, 9)}])
def test_crop_that_cannot_be_is_refused(changes):
    with pytest.raises(ConfigError, match="a crop from"):
        pipeline(**changes)


@pytest.mark.parametrize("bad", [np.full((4, 4), np.nan), np.diag([1, 1, -1, 1]), np.diag([2, 2, 2, 1]), np.eye(3)])
def test_camera_pose_that_is_no_rigid_transform_is_refused(bad):
    with pytest.raises(ConfigError, match="rigid transform"):
        CameraModel(INTRINSICS, bad)


@pytest.mark.parametrize(
    "bad", [(0, 48, (55, 55), (31, 23)), (64, 48, (0, 55), (31, 23)), (64, 48, (55, 55), (31, np.nan))]
)
def test_intrinsics_that_cannot_be_are_refused(bad):
    with pytest.raises(ConfigError, match="does not exist; take size and K"):
        Intrinsics(*bad)


def test_pipeline_without_a_camera_is_refused():
    with pytest.raises(ConfigError, match="at least one camera"):
        CloudPipeline(config(), {})
