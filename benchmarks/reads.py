"""Random training batches from our store and from a LeRobotDataset of the same episodes, and what both take on disk.

    TMRL_LEROBOT_PYTHON=lerobot/bin/python python benchmarks/reads.py [--quick]

lerobot needs an environment of its own: python3.11 -m venv lerobot && lerobot/bin/pip install lerobot==0.4.4

Episodes are of pick_cube's size, with rendered images of 128x128 px and sensor noise of two counts. lerobot writes its
data sets itself: states and actions alone, with images as PNG in Parquet, and with its default, lossy video (AV1); ours
are states alone, every pixel, and lossy as of `tmrl data shrink`. Each side reads in one process without worker
processes, on the same core, in turn; the rows are the same. Ours gives what lerobot gives: images as float32 in [0, 1],
channels first. Files are in the page cache.

Writes benchmarks/results/reads.{json,md}. The last line is JSON: ratio, the least of lerobot's median times of a batch
by ours; p99_ms of one random row with its image, ours; disk_ratio and lossy_ratio, our bytes by those of lerobot's
images and of its video.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

RESULTS = Path(__file__).parent / "results"
PYTHON = os.environ.get("TMRL_LEROBOT_PYTHON", "")
WITHOUT = (
    "Set TMRL_LEROBOT_PYTHON to an interpreter with lerobot, as made by: "
    "python3.11 -m venv lerobot && lerobot/bin/pip install lerobot==0.4.4"
)
PIXELS, NOISE, BATCH, ROUNDS, QUALITY = 128, 2.0, 64, 5, 85
BATCHES = {"states": 40, "images": 20, "video": 2}  # a round: a batch of video takes seconds
SINGLE = {"states": 100, "images": 100, "video": 10}  # single rows a round
STATE, ACTION, CAMERA = "observation.state", "action", "observation.images.front"


def episodes(count: int, rows: int) -> dict[str, np.ndarray]:
    """States [n, 10], actions [n, 4], images [n, 128, 128, 3] and ends [count]."""
    from frames import moments, noisy

    rng, pool = np.random.default_rng(0), [{"front": views["front"]} for views in moments(24)]
    images = np.stack([noisy(pool[row % len(pool)], rng)["front"] for row in range(count * rows)])
    steps = rng.normal(0, 0.01, (count, rows, 14)).astype(np.float32)
    numbers = steps.cumsum(1).reshape(-1, 14)
    ends = np.arange(1, count + 1) * rows
    return {"states": numbers[:, :10], "actions": numbers[:, 10:], "images": images, "ends": ends}


def write_ours(folder: Path, given: dict[str, np.ndarray]) -> None:
    from tmrl_ros.data import edit, store

    meta = store.StoreMeta(
        task="pick_cube",
        seed=0,
        calibration="true",
        state_names=[f"s{k}" for k in range(10)],
        action_names=[f"a{k}" for k in range(4)],
        action_hz=10,
    )
    cuts = given["ends"][:-1]
    pairs = list(zip(np.split(given["states"], cuts), np.split(given["actions"], cuts), strict=True))
    store.write(folder / "states", store.collect(pairs, meta))
    exact = store.collect(pairs, meta, {"front": given["images"]})
    store.write(folder / "images", exact)
    store.write(folder / "video", edit.shrunk(exact, QUALITY), QUALITY)  # not a video, but as lossy as theirs


def write_lerobot(folder: Path, given: dict[str, np.ndarray]) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    vectors = {STATE: given["states"], ACTION: given["actions"]}
    for kind in BATCHES:
        features = {key: {"dtype": "float32", "shape": rows.shape[1:], "names": None} for key, rows in vectors.items()}
        if kind != "states":
            names = ["height", "width", "channels"]
            features[CAMERA] = {"dtype": kind.removesuffix("s"), "shape": (PIXELS, PIXELS, 3), "names": names}
        dataset = LeRobotDataset.create("local/reads", 10, features, root=folder / kind, use_videos=kind == "video")
        for row in range(given["ends"][-1]):
            frame = {key: rows[row] for key, rows in vectors.items()} | {"task": "pick_cube"}
            dataset.add_frame(frame | ({CAMERA: given["images"][row]} if kind != "states" else {}))
            if row + 1 in given["ends"]:
                dataset.save_episode()
        dataset.finalize()


class Ours:
    def __init__(self, folder: Path, kind: str):
        from tmrl_ros.data import batches, store

        self._batches = batches.Batches(store.read(folder / kind))

    def batches(self, rows: np.ndarray):
        for some in rows:
            batch = self._batches.rows(some)
            if "front" in batch:
                batch["front"] = np.divide(batch["front"].transpose(0, 3, 1, 2), 255, dtype=np.float32)
            yield [batch["state"], batch["action_chunk"], batch.get("front", np.zeros(1))]

    def row(self, row: int) -> None:
        next(self.batches(np.array([[row]])))


class Lerobot:
    def __init__(self, folder: Path, kind: str):
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        # pyav: torchcodec, its default, needs FFmpeg's libraries from the system
        self._dataset = LeRobotDataset("local/reads", root=folder / kind, video_backend="pyav")

    def batches(self, rows: np.ndarray):
        from torch.utils.data import DataLoader

        for batch in DataLoader(self._dataset, batch_sampler=rows.tolist(), num_workers=0):
            yield [
                batch[STATE].numpy(),
                batch[ACTION].numpy(),
                batch[CAMERA].numpy() if CAMERA in batch else np.zeros(1),
            ]

    def row(self, row: int) -> None:
        self._dataset[row]


def serve(side: str, folder: Path, rows: int) -> None:
    """Answer each line {"kind", "seed"} of the standard input by durations (s) of batches and rows, and their means."""
    open_ = Ours if side == "ours" else Lerobot
    sources = {kind: open_(folder, kind) for kind in BATCHES}
    with np.load(folder.parent / "given.npz") as given:
        images = given["images"]
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        kind, rng = asked["kind"], np.random.default_rng(asked["seed"])
        wanted = rng.integers(0, rows, (BATCHES[kind] + 1, BATCH))
        batches, spans, means = sources[kind].batches(wanted), [], []
        for _ in wanted:
            start = time.perf_counter(), time.process_time()
            batch = next(batches)
            spans.append((time.perf_counter() - start[0], time.process_time() - start[1]))
            means.append([float(array.mean(dtype=np.float64)) for array in batch])
        off = 255 * batch[2] - images[wanted[-1]].transpose(0, 3, 1, 2) if kind != "states" else np.zeros(1)
        single = []
        for row in rng.integers(0, rows, SINGLE[kind]).tolist():
            start = time.perf_counter()
            sources[kind].row(row)
            single.append(time.perf_counter() - start)
        wall, cpu = zip(*spans[1:], strict=True)  # the first one opens what stays open
        print(json.dumps({"batch": wall, "cpu": cpu, "row": single, "means": means, "peak_mb": peak_mb(),
                          "rms": float(np.sqrt(np.square(off).mean()))}), flush=True)  # fmt: skip


def peak_mb() -> float:
    """Most memory of this process so far; getrusage would tell of the process that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Reader:
    """A process that serves one side."""

    def __init__(self, python: str, side: str, folder: Path, rows: int, environment: dict[str, str]):
        command = [python, __file__, "--serve", side, str(folder), str(rows)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._answer()

    def ask(self, kind: str, seed: int) -> dict:
        self._process.stdin.write(json.dumps({"kind": kind, "seed": seed}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a reading process ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(work: Path, rows: int, environment: dict[str, str]) -> dict[str, dict]:
    """Durations of both sides, in turn; the means of what they read must agree."""
    ours = Reader(sys.executable, "ours", work / "ours", rows, dict(os.environ))
    theirs = Reader(PYTHON, "lerobot", work / "lerobot", rows, environment)
    sides = {f"{side}, {kind}": (reader, kind)
             for kind in BATCHES for side, reader in (("ours", ours), ("lerobot", theirs))}  # fmt: skip
    found = {name: {"batch": [], "cpu": [], "row": []} for name in sides}
    for seed in range(ROUNDS):
        answers = {name: reader.ask(kind, seed) for name, (reader, kind) in sides.items()}
        for name, answer in answers.items():
            for key, durations in found[name].items():
                durations += answer[key]
        for kind in ("states", "images"):
            both = [answers[f"{side}, {kind}"]["means"] for side in ("ours", "lerobot")]
            np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-5)
        lossy, exact = (answers[name]["means"] for name in ("lerobot, video", "ours, images"))
        np.testing.assert_allclose(lossy[0], exact[0], atol=0.02)
    off = {side: answers[f"{side}, video"]["rms"] for side in ("ours", "lerobot")}
    peak = {"ours": answers["ours, images"]["peak_mb"], "lerobot": answers["lerobot, video"]["peak_mb"]}
    ours.close()
    theirs.close()
    return {"durations": found, "peak_mb": peak, "lossy_rms": off}


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def summary(name: str, found: dict[str, list[float]], size_bytes: int) -> dict[str, float]:
    batch, cpu, row = (1e3 * np.array(found[key]) for key in ("batch", "cpu", "row"))
    return {
        "name": name,
        "bytes": size_bytes,
        "batch_ms": statistics.median(batch),
        "batch_p99_ms": float(np.percentile(batch, 99)),
        "batch_cpu_ms": statistics.median(cpu),
        "row_ms": statistics.median(row),
        "row_p99_ms": float(np.percentile(row, 99)),
        "rows_per_s": BATCH / statistics.median(batch) * 1e3,
    }


def report(lines: list[dict], ratios: dict[str, dict[str, float]], notes: str) -> str:
    """The text of reads.md."""
    text = [
        "# Random reads\n\n`python benchmarks/reads.py`, wall clock where it is not processor time, one core.\n",
        f"| | on disk | a batch of {BATCH}: median | p99 | processor | rows a second | one row: median | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    text += [
        f"| {line['name']} | {line['bytes'] / 1e6:.2f} MB | {line['batch_ms']:.2f} ms | "
        f"{line['batch_p99_ms']:.2f} ms | {line['batch_cpu_ms']:.2f} ms | {line['rows_per_s']:,.0f} | "
        f"{line['row_ms']:.3f} ms | {line['row_p99_ms']:.3f} ms |"
        for line in lines
    ]
    told = [", ".join(f"{ratio:.1f} ({kind})" for kind, ratio in of.items()) for of in ratios.values()]
    text.append(f"\nTime of a batch, lerobot's by ours: {told[0]}; processor time: {told[1]}. {notes}")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 rows rather than 3000; nothing is written")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve[0], Path(options.serve[1]), int(options.serve[2]))
    if options.write:
        return write_lerobot(Path(options.write[0]), dict(np.load(options.write[1])))
    if not PYTHON:
        sys.exit(WITHOUT)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), *((12, 25) if options.quick else (60, 50)), keep=not options.quick)


def prepare(work: Path, count: int, rows: int) -> dict[str, str]:
    """Write the same episodes by both; returns lerobot's environment variables."""
    given = episodes(count, rows)
    np.savez(work / "given.npz", **given)
    write_ours(work / "ours", given)
    (work / "lerobot").mkdir()
    environment = {**os.environ, "HF_HOME": str(work / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [PYTHON, __file__, "--write", str(work / "lerobot"), str(work / "given.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lerobot did not write its data sets: {done.stderr[-2000:]}")
    return environment


def run(work: Path, count: int, rows: int, keep: bool) -> None:
    environment, load = prepare(work, count, rows), os.getloadavg()[0]
    found = measure(work, count * rows, environment)
    lines = {
        name: summary(name, durations, size(work / name.replace(", ", "/")))
        for name, durations in found["durations"].items()
    }
    pairs = {kind: (lines[f"lerobot, {kind}"], lines[f"ours, {kind}"]) for kind in BATCHES}
    ratios = {key: {kind: theirs[key] / ours[key] for kind, (theirs, ours) in pairs.items()}
              for key in ("batch_ms", "batch_cpu_ms", "bytes")}  # fmt: skip
    disk = {kind: 1 / ratio for kind, ratio in ratios.pop("bytes").items()}
    last = {
        "ratio": round(min(ratios["batch_ms"].values()), 2),
        "p99_ms": round(lines["ours, images"]["row_p99_ms"], 3),
        "disk_ratio": round(disk["images"], 3),
        "lossy_ratio": round(disk["video"], 3),
    }
    lines["ours, video"]["name"] = "ours, shrunk (WebP)"
    peak = found["peak_mb"]
    notes = (
        f"{count} episodes, {count * rows} rows, one camera of {PIXELS}x{PIXELS} px; images leave both as float32, "
        f"channels first. Our bytes by theirs: {disk['states']:.2f} (states), {disk['images']:.2f} (images, both "
        f"lossless), {disk['video']:.2f} (our WebP, their video, both lossy: {found['lossy_rms']['ours']:.2f} and "
        f"{found['lossy_rms']['lerobot']:.2f} of 255 root mean square from the noisy pixels); the "
        f"{size(work / 'hf') / 1e6:.0f} MB that "
        f"lerobot unpacks into its cache are not counted. Most memory of a process: {peak['ours']:.0f} MB (ours), "
        f"{peak['lerobot']:.0f} MB (lerobot). Load of the machine before: {load:.1f}."
    )
    text = report(list(lines.values()), ratios, notes)
    print(text)
    if keep:
        (RESULTS / "reads.md").write_text(text)
        content = {**last, "ratios": ratios, "disk": disk, "lines": list(lines.values()), "peak_mb": peak, "load": load}
        (RESULTS / "reads.json").write_text(json.dumps(content, indent=1))
    print(json.dumps(last))


if __name__ == "__main__":
    main()
