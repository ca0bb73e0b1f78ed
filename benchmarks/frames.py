"""What the raw observations of 100,000 decisions take in memory, and how fast batches come out of them.

    python benchmarks/frames.py [--quick]

Two cameras of 128x128 px see scripted starts of pick_cube; sensor noise of two counts is added, since rendered images
compress three times better than a camera's. Each episode has ten decisions and so eleven observations. Filled until the
ring has wrapped twice; gb_per_100k is the ring's own count of bytes, and traced what Python really allocated for them.
The last line is JSON: gb_per_100k of the noisy images, samples_per_s (decisions, both observations, unpacked) and ms to
add one.
"""

import argparse
import json
import os
import time
import tracemalloc

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from tmrl_ros import fr3
from tmrl_ros.config import Shift, Task, Timing
from tmrl_ros.learner.frames import Frames
from tmrl_ros.robot.sim import SimRobot
from tmrl_ros.types import Observation

PIXELS, CAMERAS, NOISE = 128, ("front", "spectator"), 2.0
SHAPES = {"state": (10,), **{camera: (PIXELS, PIXELS, 3) for camera in CAMERAS}}
DECISIONS = 10  # an episode
BATCH = 64


def moments(n: int) -> list[dict[str, np.ndarray]]:
    """Rendered images of n moments, arm and cube elsewhere in each."""
    sim, rng = SimRobot(Task(), Timing(), Shift(), 0), np.random.default_rng(0)
    out = []
    for moment in range(n):
        sim.reset_objects(0, moment)
        qpos = sim.qpos()
        qpos[:7] = fr3.HOME_Q + rng.uniform(-0.2, 0.2, 7)
        out.append({camera: sim.render(qpos, camera, PIXELS, PIXELS) for camera in CAMERAS})
    return out


def noisy(images: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """As a camera would see them."""
    return {
        name: (image + rng.normal(0, NOISE, image.shape)).clip(0, 255).astype(np.uint8)
        for name, image in images.items()
    }


def measure(pool: list[dict[str, np.ndarray]], decisions: int) -> dict[str, float]:
    """Fill a ring with `decisions` of the observations in `pool`; it has room for a third of them."""
    probe = Frames(SHAPES, 10**9)
    fill(probe, pool, 2 * DECISIONS)
    room = probe.bytes // (2 * DECISIONS) * (decisions // 3)
    tracemalloc.start()
    frames = Frames(SHAPES, room)
    fill(frames, pool, decisions)
    traced = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(frames) < decisions and frames.bytes <= room
    start_s = time.perf_counter()
    fill(Frames(SHAPES, room), pool, decisions)
    add_s = (time.perf_counter() - start_s) / decisions
    rng, batches, start_s = np.random.default_rng(0), max(2, decisions // BATCH), time.perf_counter()
    for _ in range(batches):
        frames.sample(rng, BATCH)
    rate_hz = batches * BATCH / (time.perf_counter() - start_s)
    per_decision = frames.bytes / len(frames)
    return {
        "gb_per_100k": round(per_decision * 100_000 / 1e9, 2),
        "traced_gb_per_100k": round(traced / len(frames) * 100_000 / 1e9, 2),
        "samples_per_s": round(rate_hz),
        "add_ms": round(1e3 * add_s, 2),
    }


def fill(frames: Frames, pool: list[dict[str, np.ndarray]], decisions: int) -> None:
    for decision in range(decisions):
        at = [
            Observation(k, np.full(10, k, np.float32), pool[(k + decision // DECISIONS) % len(pool)])
            for k in (decision, decision + 1)
        ]
        frames.add(decision // DECISIONS, decision, *at)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="300 decisions rather than 3000")
    decisions = 300 if arguments.parse_args().quick else 3000
    rng, clean = np.random.default_rng(0), moments(24)
    pools = {
        "as rendered": clean,
        "sensor noise": [noisy(images, rng) for images in clean],
        "incompressible": [
            {name: rng.integers(0, 256, image.shape).astype(np.uint8) for name, image in images.items()}
            for images in clean
        ],
    }
    found = {name: measure(pool, decisions) for name, pool in pools.items()}
    for name, row in found.items():
        print(f"{name:15} {'  '.join(f'{key} {value}' for key, value in row.items())}")
    print(json.dumps({key: found["sensor noise"][key] for key in ("gb_per_100k", "samples_per_s", "add_ms")}))


if __name__ == "__main__":
    main()
