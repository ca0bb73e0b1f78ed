"""Frames and the robot's values to observations: what is in them, what is dropped, what holds, and what is said."""

import numpy as np
import pytest
import tabletop

from tmrl_ros.config import PerceptionConfig
from tmrl_ros.errors import CalibrationError, ConfigError
from tmrl_ros.perception.faults import Frame
from tmrl_ros.perception.observer import Observer, lens_id

START_S, FPS, LATENCY_S = 1000.0, 30, 0.03
STATE = "joint_position tcp_position gripper_width tcp_position_error"
HAND = np.eye(4)
HAND[:3, 3] = (0.4, 0.1, 0.3)
LENS = lens_id(tabletop.INTRINSICS)


def config(cameras=("front",), view=None, **changes):
    values = {
        "timing": {"lockstep": False},
        "cameras": dict.fromkeys(cameras, view or {"width_px": 40, "height_px": 30}),
        "state": STATE,
        "cloud": tabletop.CLOUD,
    }
    return PerceptionConfig.model_validate(values | changes)


def ns(seconds):
    return round(seconds * 1e9)


class Lab:
    """Brings an observer 30 frames and 100 values of the robot a second, each LATENCY_S after its stamp or at once."""

    def __init__(self, settings=None, calibration=None):
        self.settings = settings or config()
        calibration = calibration or tabletop.calibration(names=tuple(self.settings.cameras))
        self.observer = Observer(self.settings, calibration, START_S)
        self.seen, self.held_s, self.t = [], [], START_S

    def run(self, seconds, spoil=None, without=()):
        """`spoil(stream, frame)` gives the frame that comes in its place; `without` names who says nothing."""
        end = self.t + seconds
        while self.t < end - 1e-9:
            self.t += 0.01
            for source, value in self.values().items():
                if source not in without:
                    self._keep(self.observer.value(source, ns(self.t), value, ns(self.t), self.t))
            k = round((self.t - START_S) * 100)
            if k % 100 in np.round(np.arange(FPS) * 100 / FPS):
                for stream in self.observer.streams:
                    if stream not in without:
                        self._bring(stream, k, spoil)
            self.observer.watch(self.t)
            if self.observer.hold:
                self.held_s.append(self.t)
        return self

    def values(self):
        q, width = np.full(7, self.t - START_S), 0.04
        every = {"joints": q, "tcp": HAND, "desired_tcp": HAND[:3, 3] + (0, 0, 0.01), "width": width}
        every["objects"] = np.array([[0.5, 0.0, 0.02]])
        return {name: every[name] for name in self.observer.sources}

    def _bring(self, stream, k, spoil):
        is_depth = stream.endswith("depth")
        image = tabletop.depth(k) if is_depth else tabletop.colour(k)
        frame = Frame(ns(self.t - LATENCY_S), "16UC1" if is_depth else "rgb8", image, LENS)
        frame = spoil(stream, frame) if spoil else frame
        self._keep(self.observer.frame(stream, frame, ns(self.t), self.t))

    def _keep(self, observation):
        if observation is not None:
            self.seen.append(observation)


def test_observations_come_at_the_control_rate_with_what_belongs_to_their_stamp():
    lab = Lab().run(2.0)
    assert 19 <= len(lab.seen) <= 21 and not lab.held_s
    for observation in lab.seen[1:]:  # before the first one there was no value to be nearer
        assert observation.state.dtype == np.float32 and observation.state.shape == (14,)
        assert abs(observation.state[0] - (observation.stamp_ns * 1e-9 - START_S)) < 0.0051, "not the nearest value"
        np.testing.assert_allclose(observation.state[7:], (0.4, 0.1, 0.3, 0.04, 0, 0, 0.01), atol=1e-6)
        assert observation.cloud.shape == (128, 3) and observation.cloud.dtype == np.float32
        np.testing.assert_allclose(observation.cloud[:, 2], tabletop.BLOCK_M, atol=0.004)
        np.testing.assert_allclose(observation.cloud[:, :2].mean(0), (0.5, 0.0), atol=0.01)
        image = observation.images["front"]
        assert image.shape == (30, 40, 3) and image.dtype == np.uint8
        assert (np.diff(image[0, :, 0].astype(int)) > 0).all() and not image[..., 1:].any()


def test_two_cameras_make_one_cloud_and_two_images():
    moved = tabletop.DOWN.copy()
    moved[0, 3] += 0.3
    both = tabletop.calibration().cameras["front"], tabletop.calibration(pose=moved).cameras["front"]
    calibration = tabletop.calibration().model_copy(update={"cameras": dict(zip(("left", "right"), both, strict=True))})
    observation = Lab(config(("left", "right")), calibration).run(0.5).seen[-1]
    assert set(observation.images) == {"left", "right"}
    right = observation.cloud[:, 0] > 0.65
    assert 0.3 < right.mean() < 0.7


def test_a_camera_on_the_hand_sees_from_where_the_hand_was():
    on_hand = np.linalg.inv(HAND) @ tabletop.DOWN
    lab = Lab(config(), tabletop.calibration("eye_in_hand", on_hand)).run(0.5)
    np.testing.assert_allclose(lab.seen[-1].cloud[:, 2], tabletop.BLOCK_M, atol=0.004)


def test_a_camera_on_a_moving_hand_moves_with_it():
    lab = Lab(config(), tabletop.calibration("eye_in_hand", np.linalg.inv(HAND) @ tabletop.DOWN)).run(0.5)
    moved, values = HAND.copy(), lab.values
    moved[0, 3] += 0.1
    lab.values = lambda: values() | {"tcp": moved}
    before, after = lab.seen[-1].cloud, lab.run(0.5).seen[-1].cloud
    assert after[:, 0].mean() - before[:, 0].mean() == pytest.approx(0.1, abs=0.01)


def test_a_camera_without_cloud_or_without_image_gives_the_other_alone():
    image_alone = Lab(config(view={"cloud": False, "width_px": 32, "height_px": 32})).run(0.3)
    assert image_alone.observer.streams == ["front/color"]
    assert image_alone.seen[0].cloud is None and image_alone.seen[0].images["front"].shape == (32, 32, 3)
    cloud_alone = Lab(config(view={"width_px": 0, "height_px": 0})).run(0.3)
    assert cloud_alone.observer.streams == ["front/depth"]
    assert cloud_alone.seen[0].cloud is not None and not cloud_alone.seen[0].images


def test_a_cloud_with_colour_takes_it_from_the_aligned_image():
    lab = Lab(config(view={"width_px": 0, "height_px": 0}, cloud=tabletop.CLOUD | {"colour": True})).run(0.3)
    cloud = lab.seen[0].cloud
    assert cloud.shape == (128, 6)
    assert np.corrcoef(cloud[:, 0], cloud[:, 3])[0, 1] > 0.99


def test_one_bad_frame_is_dropped_named_and_forgotten():
    lab, spoilt = Lab().run(0.5), []

    def once(stream, frame):
        if stream == "front/depth" and not spoilt:
            spoilt.append(frame)
            return Frame(frame.stamp_ns, frame.encoding, np.zeros_like(frame.image), frame.calibration_id)
        return frame

    lab.run(0.04, once)
    assert spoilt and "front/depth: 0.0% of the pixels see something" in lab.observer.problems["front/depth"]
    lab.run(0.5)
    assert not lab.observer.problems and not lab.held_s
    assert spoilt[0].stamp_ns not in {observation.stamp_ns for observation in lab.seen}
    assert lab.observer.counts("front/depth") == {"empty_depth": 1}


@pytest.mark.parametrize(
    ("change", "within_s", "sentence"),
    [
        (lambda f: Frame(f.stamp_ns, f.encoding, f.image * 0, f.calibration_id), 0.2, "is the lens covered"),
        (lambda f: Frame(f.stamp_ns - ns(1), f.encoding, f.image, f.calibration_id), 0.2, "s old"),
        (lambda f: Frame(f.stamp_ns + ns(1), f.encoding, f.image, f.calibration_id), 0.2, "in the future"),
        (lambda f: Frame(f.stamp_ns, f.encoding, f.image, "640x480"), 0.2, "with which the session began"),
        (lambda f: Frame(f.stamp_ns, f.encoding, tabletop.depth(0), f.calibration_id), 0.3, "one and the same"),
        (lambda f: Frame(f.stamp_ns, f.encoding, np.full_like(f.image, 1000), f.calibration_id), 0.2, "0 voxels"),
    ],
)
def test_a_fault_that_lasts_holds_in_time_says_why_and_ends_with_the_fault(change, within_s, sentence):
    lab = Lab().run(0.5)
    onset_s, good = lab.t, len(lab.seen)
    noise = np.random.default_rng(0)

    def spoil(stream, frame):
        if stream != "front/depth":
            return frame
        spoilt = change(frame)
        if sentence == "0 voxels":  # a table alone, with the noise that keeps it from being a frozen image
            spoilt.image[...] += noise.integers(0, 2, spoilt.image.shape).astype(np.uint16)
        return spoilt

    lab.run(1.0, spoil)
    assert lab.held_s and lab.held_s[0] - onset_s <= within_s + 1e-6
    assert sentence in lab.observer.hold
    late = [o for o in lab.seen[good:] if o.stamp_ns > ns(lab.held_s[0])]
    assert not late, "an observation came while it held"
    lab.run(0.5)
    assert not lab.observer.hold and lab.seen[-1].stamp_ns > ns(onset_s + 1.2)


@pytest.mark.parametrize("silent", ["front/depth", "front/color", "tcp", "width", "joints"])
def test_who_falls_silent_is_named_and_holds_within_a_quarter_of_a_second(silent):
    lab = Lab().run(0.5)
    onset_s = lab.t
    lab.run(0.5, without=(silent,))
    assert lab.held_s[0] - onset_s <= 0.25 and lab.observer.hold.startswith(f"{silent}: no")
    assert set(lab.observer.problems) - {"observation"} == {silent}
    assert not [o for o in lab.seen if o.stamp_ns > ns(lab.held_s[0])]
    lab.run(0.5)
    assert not lab.observer.problems


def test_an_image_that_comes_late_makes_no_observation_while_something_else_holds():
    lab = Lab(config(stream={"age_s": 0.5, "silence_s": 0.2})).run(0.5)
    last_ns, seen = ns(lab.t), len(lab.seen)
    lab.run(0.22, without=("tcp", *lab.observer.streams))
    assert lab.observer.hold
    for stream, encoding, image in (
        ("front/depth", "16UC1", tabletop.depth(9)),
        ("front/color", "rgb8", tabletop.colour(9)),
    ):
        lab._keep(lab.observer.frame(stream, Frame(last_ns, encoding, image, LENS), ns(lab.t), lab.t))
    assert lab.observer.hold.startswith("tcp: nothing usable") and len(lab.seen) == seen


def test_a_source_whose_clock_is_off_is_named():
    lab = Lab().run(0.3)
    for k in range(3):
        assert lab.observer.value("tcp", ns(lab.t + 5 + k), HAND, ns(lab.t), lab.t) is None
    assert "synchronise the clocks" in lab.observer.problems["tcp"]
    lab.run(0.3)
    assert not lab.observer.problems and lab.seen[-1].stamp_ns > ns(lab.t - 0.15)


def test_a_source_that_never_fits_is_named_with_its_distance_and_holds():
    lab = Lab(config(stream={"age_s": 0.5, "silence_s": 0.5}))
    for _ in range(20):  # it speaks often enough, of what was long ago
        late_ns = ns(lab.t - 0.48)
        lab._keep(lab.observer.value("width", late_ns, 0.04, ns(lab.t), lab.t))
        lab.run(0.05, without=("width",))
    assert not lab.seen
    assert "width: 0." in lab.observer.hold and "from the image, 0.05 s are allowed" in lab.observer.hold
    assert lab.held_s[0] - START_S == pytest.approx(0.5, abs=0.03)


def test_thirty_percent_of_lost_frames_cost_few_observations_and_hold_only_what_gets_too_old():
    rng, lost_images = np.random.default_rng(5), []

    class Lossy(Lab):
        def _bring(self, stream, k, spoil):
            if rng.random() < 0.3:
                lost_images.append(stream)
            else:
                super()._bring(stream, k, spoil)

    lab = Lossy().run(5.0)
    assert len(lost_images) > 60
    gaps_s = np.diff([observation.stamp_ns for observation in lab.seen]) * 1e-9
    assert len(lab.seen) >= 40 and np.median(gaps_s) < 0.11
    counted = sum(lab.observer.counts(stream)["dropped_frames"] for stream in lab.observer.streams)
    assert abs(counted - len(lost_images)) <= 4, "what was lost before the first or after the last frame is not seen"
    assert len(lab.held_s) < 15


def test_in_lockstep_stamps_are_exact_and_neither_age_nor_repetition_is_a_fault():
    lab = Lab(config(timing={"lockstep": True}))
    for tick in range(1, 8):
        stamp_ns = tick * ns(0.1)
        for source, value in lab.values().items():
            lab._keep(lab.observer.value(source, stamp_ns, value, ns(lab.t), lab.t))
        for stream in lab.observer.streams:
            image = tabletop.depth(0) if stream.endswith("depth") else tabletop.colour(0)
            frame = Frame(stamp_ns, "16UC1" if stream.endswith("depth") else "rgb8", image, LENS)
            lab._keep(lab.observer.frame(stream, frame, ns(lab.t), lab.t))
        lab.t += 10
        lab.observer.watch(lab.t)
    assert [observation.stamp_ns for observation in lab.seen] == [tick * ns(0.1) for tick in range(1, 8)]
    assert not lab.observer.problems and not lab.observer.counts("front/depth")


def test_cameras_without_calibration_or_without_use_are_refused():
    with pytest.raises(CalibrationError, match=r"camera side is not in .*, which has front; calibrate it"):
        Observer(config(("front", "side")), tabletop.calibration(), START_S)
    with pytest.raises(ConfigError, match=r"cameras.front is to give an image of 0x30 px and a cloud"):
        Observer(config(view={"width_px": 0, "height_px": 30}), tabletop.calibration(), START_S)
    with pytest.raises(ConfigError, match="no cloud; set both sizes"):
        Observer(config(view={"width_px": 0, "height_px": 0, "cloud": False}), tabletop.calibration(), START_S)
