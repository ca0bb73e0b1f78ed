"""Each kind of input that we read: how a small sound one is made, how it is read, and what else is done to it.

`read(folder)` returns what was read, as a list of digests, and the sentence that states a loss, or "".
"""

import hashlib
import io
import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import zstandard
from corpus import SPOILERS, Spoiler, deep, hostile_pickle, hostile_yaml, written, wrong_value
from geometry_msgs.msg import PoseStamped
from mcap.writer import CompressionType, Writer
from rclpy.serialization import serialize_message

from tmrl_ros.config import BaseConfig, LearnerConfig, SacConfig
from tmrl_ros.data import append_log, bag, catalog, schema, store, transition_log
from tmrl_ros.data.append_log import AppendLog
from tmrl_ros.data.assembler import Transition
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import DataError
from tmrl_ros.learner.core import Learner, recover
from tmrl_ros.nodes import replay
from tmrl_ros.nodes.convert import to_msg
from tmrl_ros.nodes.learning import Learning
from tmrl_ros.parameters import write_parameters
from tmrl_ros.perception.calibration import Calibration
from tmrl_ros.policy.actor_file import load_actor
from tmrl_ros.policy.base import BasePolicy
from tmrl_ros.policy.checkpoint import META, TENSORS, signature
from tmrl_ros.session.graph import SessionOptions, build
from tmrl_ros.types import Modulation, Observation

Reading = tuple[list[str], str]
BOMB_BYTES = 3 * 2**30  # what a bomb would swell to


@dataclass(frozen=True)
class Kind:
    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Reading]
    own: tuple[Spoiler, ...]  # what only this kind can be
    general: tuple[Spoiler, ...] = SPOILERS


def _digest(*values) -> str:
    sha = hashlib.sha256()
    for value in values:
        sha.update(np.ascontiguousarray(value).tobytes() if hasattr(value, "dtype") else repr(value).encode())
    return sha.hexdigest()


# ---- bags -----------------------------------------------------------------------------------------------------------

SECOND, OBSERVATION = 10**9, "tmrl_msgs/msg/Observation"


def _observation(k: int) -> Observation:
    rng = np.random.default_rng(k)
    return Observation(k * SECOND, rng.normal(size=4).astype(np.float32), cloud=rng.normal(size=(64, 3)).astype("f4"))


def make_bag(folder: Path) -> None:
    attached = {"parameters.yaml": b"/**: {ros__parameters: {seed: 7}}\n"}
    with BagWriter(folder / "bag", segment_s=12.0, attachments=attached) as writer:
        for topic, kind in (("/observation", OBSERVATION), ("/pose", "geometry_msgs/msg/PoseStamped")):
            writer.add_topic(topic, kind, schema.definition(kind), schema.type_hash(kind))
        for k in range(1, 21):
            writer.write("/observation", k * SECOND, serialize_message(to_msg(_observation(k))))
            writer.write("/pose", k * SECOND, serialize_message(PoseStamped()))
            if k % 3 == 0:
                writer.flush()


def read_bag(folder: Path) -> Reading:
    """As `tmrl data check`, `tmrl replay` and `--from-bag` do; what ends early is read up to there."""
    list(catalog.find(folder))
    stated = ""
    try:
        catalog.check(folder / "bag")
    except DataError as error:
        if "messages can be read" not in str(error):
            raise
        stated = str(error)
    seen = [_digest(m.topic, m.type_name, m.stamp_ns, m.data) for m in bag.read(folder / "bag")]
    for record in replay.records(folder / "bag"):
        _digest(record.stamp_ns)
    if not stated:
        seen += [_digest(entry) for entry in sorted(bag.attachments(folder / "bag").items())]
    return seen, stated


def _chunk_bomb(compression: CompressionType) -> Spoiler:
    """A chunk that says it is small, or that it is what it swells to."""

    def bomb(folder, rng):
        file = next((folder / "bag").glob("*.mcap"))
        with file.open("wb") as stream:
            writer = Writer(stream, compression=compression, chunk_size=2**26)
            writer.start("ros2")
            channel = writer.register_channel("/a", "cdr", writer.register_schema("a", "ros2msg", b""))
            writer.add_message(channel, 0, bytes(2**25), 0)
            writer.finish()
        data = file.read_bytes()
        size = struct.pack("<Q", 2**25 + 31 + 9 + 22 + 14)  # near it: found below where the writer differs
        at = data.find(b"\x06") + 9 + 16
        said = int(rng.choice([1000, BOMB_BYTES, 2**62]))
        file.write_bytes(data[:at] + struct.pack("<Q", said) + data[at + len(size) :])

    bomb.__name__ = "bomb"
    return bomb


def _swelling_frame(folder, rng):
    """One zstd frame in place of a chunk's: 3 GB of zeros in a few kB."""
    file = next((folder / "bag").glob("*.mcap"))
    frame = swollen()
    body = struct.pack("<QQQI", 0, 0, BOMB_BYTES, 0) + struct.pack("<I", 4) + b"zstd" + struct.pack("<Q", len(frame))
    record = b"\x06" + struct.pack("<Q", len(body) + len(frame)) + body + frame
    head = file.read_bytes()[:8]
    file.write_bytes(head + b"\x01" + struct.pack("<Q", 8) + bytes(8) + record + head)


def swollen() -> bytes:
    """A zstd frame of BOMB_BYTES of zeros."""
    writer, zeros = zstandard.ZstdCompressor(level=1).compressobj(size=BOMB_BYTES), bytes(2**24)
    return b"".join(writer.compress(zeros) for _ in range(BOMB_BYTES // 2**24)) + writer.flush()


def _foreign_messages(folder, rng):
    """A whole bag, with sound checksums, whose messages are not what their type says."""
    shutil.rmtree(folder / "bag")
    with BagWriter(folder / "bag") as writer:
        writer.add_topic("/observation", OBSERVATION, schema.definition(OBSERVATION))
        good = serialize_message(to_msg(_observation(1)))
        kinds = (b"", b"\0\1\0\0", good[: len(good) // 2], good[:-9], rng.bytes(200), hostile_pickle())
        writer.write("/observation", SECOND, kinds[rng.integers(len(kinds))])


def _hostile_metadata(folder, rng):
    (folder / "bag/metadata.yaml").write_text(f"rosbag2_bagfile_information: {hostile_yaml()}\n")


def _many_aliases(folder, rng):
    (folder / "bag/metadata.yaml").write_text(laughs())


def laughs() -> str:
    """YAML that grows tenfold a line."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    return "\n".join(lines) + "\n"


def make_sqlite(folder: Path) -> None:
    (folder / "bag").mkdir()
    database = sqlite3.connect(folder / "bag/bag_0.db3")
    database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
    database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
    database.execute("INSERT INTO topics VALUES (1, '/observation', ?, 'cdr')", (OBSERVATION,))
    for k in range(1, 21):
        data = serialize_message(to_msg(_observation(k)))
        database.execute("INSERT INTO messages VALUES (?, 1, ?, ?)", (k, k * SECOND, data))
    database.commit()
    database.close()


def _sql(*statements: str) -> Spoiler:
    def spoil(folder, rng):
        database = sqlite3.connect(folder / "bag/bag_0.db3")
        database.execute(statements[rng.integers(len(statements))])
        database.commit()
        database.close()

    spoil.__name__ = "sql"
    return spoil


SQL = _sql(
    "DROP TABLE messages",
    "UPDATE topics SET serialization_format = 'json'",
    "UPDATE messages SET data = zeroblob(300000000) WHERE id = 3",
    "UPDATE messages SET data = 'text'",
    "UPDATE messages SET data = NULL",
    "UPDATE messages SET timestamp = 'never'",
    "UPDATE messages SET timestamp = 9e300",
    "UPDATE topics SET name = NULL",
    "UPDATE topics SET type = x'00ff'",
)


# ---- demonstration stores -------------------------------------------------------------------------------------------


def make_store(folder: Path) -> None:
    meta = store.StoreMeta(
        task="pick_cube", seed=3, calibration="true", state_names=["x m"], action_names=["dx", "grip"], action_hz=10
    )
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 1)), rng.normal(size=(n, 2))) for n in (3, 1, 4)]
    images = {"front": rng.integers(0, 256, (8, 6, 5, 3)).astype(np.uint8)}
    store.write(folder / "demos.zarr", store.collect(pairs, meta, images, rng.normal(size=(8, 4, 3))))


def read_store(folder: Path) -> Reading:
    list(catalog.find(folder))
    catalog.check(folder / "demos.zarr")
    d = store.read(folder / "demos.zarr")
    pixels = [d.images[camera][:] for camera in sorted(d.images)]
    clouds = () if d.clouds is None else d.clouds
    return [_digest(d.states, d.actions, d.ends, clouds, sorted(d.meta.model_dump().items()), *pixels)], ""


def _array(folder: Path, rng: np.random.Generator) -> Path:
    there = sorted(path.parent for path in folder.rglob("zarr.json") if "shape" in json.loads(path.read_text()))
    return there[rng.integers(len(there))]


def _other_codec(folder, rng):
    """Data that only a codec which runs code could read, or of a size that nobody has."""
    array = _array(folder, rng)
    document = json.loads((array / "zarr.json").read_text())
    name = str(rng.choice(["pickle", "numcodecs.pickle", "numcodecs.zlib", "nothing"]))
    document["codecs"] = [{"name": name, "configuration": {}}]
    if rng.random() < 0.5:
        document["data_type"] = str(rng.choice(["object", "string", "variable_length_utf8", "complex128"]))
    (array / "zarr.json").write_text(json.dumps(document))
    for file in (path for path in array.rglob("c*/*") if path.is_file()):
        file.write_bytes(hostile_pickle())


def _huge_shape(folder, rng):
    array = _array(folder, rng)
    document = json.loads((array / "zarr.json").read_text())
    document["shape"][0] = int(rng.choice([2**40, 2**62, -1, 0]))
    (array / "zarr.json").write_text(json.dumps(document))


def _swelling_chunk(folder, rng):
    chunks = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    chunks[rng.integers(len(chunks))].write_bytes(swollen())


# ---- checkpoints ----------------------------------------------------------------------------------------------------

SMALL = BaseConfig(width=16, layers=1)
CONFIG = LearnerConfig(
    method="tmrl", sac=SacConfig(warmup_episodes=1, updates_per_decision=1, batch=8), modulation={"width": 16}
)


def _base() -> BasePolicy:
    torch.manual_seed(0)
    return BasePolicy(SMALL, 3, 2, 8).eval()


def _transition(k: int) -> Transition:
    rng = np.random.default_rng(k)
    seen = [Observation(j * SECOND, rng.normal(size=3).astype(np.float32)) for j in (k, k + 1)]
    modulation = Modulation(rng.normal(size=2).astype(np.float32), 0.1)
    actions = rng.uniform(-1, 1, (8, 2)).astype(np.float32)
    last = k % 4 == 3
    marks = (last, False, last, k // 4, k, 0, False, False)
    return Transition(*seen, modulation, actions, 8, -1.0, *marks)


def _learner() -> Learner:
    return Learner(CONFIG, _base())


def make_base(folder: Path) -> None:
    _base().save(folder / "base", {"task": "pick_cube"})


def read_base(folder: Path) -> Reading:
    base = BasePolicy.load(folder / "base")
    return [_digest(base.config, base.horizon, base.shapes, *base.state_dict().values())], ""


def make_actor(folder: Path) -> None:
    _learner().save_actor(folder / "actor")


def read_actor(folder: Path) -> Reading:
    steering, actor, critic, version = load_actor(folder / "actor", _base(), CONFIG.timing.execution_horizon)
    return [_digest(steering.config, version, *actor.state_dict().values(), *critic.state_dict().values())], ""


def make_learner(folder: Path) -> None:
    learner = _learner()
    for k in range(12):
        learner.add(_transition(k))
        learner.learn()
    learner.save(folder / "learner", {"log": "0" * 64})


def read_learner(folder: Path) -> Reading:
    if not recover(folder / "learner"):
        raise DataError(f"{folder} has no checkpoint")
    learner = _learner()
    notes = learner.restore(folder / "learner")
    return [_digest(learner.digest, sorted(notes.items()))], ""


def _signed(document: dict) -> None:
    document["meta_sha256"] = signature(document)


def _checkpoint(folder: str) -> tuple[Spoiler, ...]:
    """What fits its checksums, and is wrong all the same."""
    meta, tensors = f"{folder}/{META}", f"{folder}/{TENSORS}"

    def signed_tensors(content: Callable[[np.random.Generator], bytes], name: str) -> Spoiler:
        def spoil(at, rng):
            data = content(rng)
            (at / tensors).write_bytes(data)
            document = json.loads((at / meta).read_text())
            document["sha256"] = hashlib.sha256(data).hexdigest()
            _signed(document)
            (at / meta).write_text(json.dumps(document))

        spoil.__name__ = name
        return spoil

    return (
        wrong_value(meta),
        wrong_value(meta, _signed),
        wrong_value(meta, _signed),
        deep(meta),
        deep(meta, '{"a":'),
        written(meta, lambda: "[1, 2]", "another_document"),
        signed_tensors(lambda rng: _torch_file(), "torch_pickle"),
        signed_tensors(lambda rng: hostile_pickle(), "signed_pickle"),
        signed_tensors(_huge_tensors, "huge_tensors"),
        signed_tensors(_other_tensors, "other_tensors"),
    )


def _torch_file() -> bytes:
    from corpus import Canary

    stream = io.BytesIO()
    torch.save({"weights": Canary()}, stream)
    return stream.getvalue()


def _huge_tensors(rng) -> bytes:
    size = int(rng.choice([2**40, 2**62, 10**18]))
    head = {"theta": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}
    text = json.dumps(head).encode()
    length = len(text) if rng.random() < 0.5 else 2**60
    return struct.pack("<Q", length) + text + bytes(64)


def _other_tensors(rng) -> bytes:
    import safetensors.torch

    kinds = ({}, {"theta": torch.zeros(3)}, {"critic.theta": torch.zeros(0)}, {"replay.reward": torch.zeros(10**6)})
    return safetensors.torch.save(kinds[rng.integers(len(kinds))])


# ---- logs -----------------------------------------------------------------------------------------------------------


def make_log(folder: Path) -> None:
    """What a learner leaves that was killed: a checkpoint, and a log that goes beyond it."""
    learning = _learning(folder, lambda sentence: None)
    learning.start()
    for k in range(10):
        learning.learn(_transition(k))
        if k == 5:
            learning.save()
    learning._log.close()


def _learning(folder: Path, say: Callable[[str], None]) -> Learning:
    config = CONFIG.model_copy(update={"checkpoint": str(folder)})
    return Learning(Learner(config, _base()), lambda *_: None, say)


def read_log(folder: Path) -> Reading:
    """As a learner that comes back: what is torn at the log's end is cut off, and said."""
    said: list[str] = []
    learning = _learning(folder, said.append)
    learning.start()
    stated = " ".join(sentence for sentence in said if "lost" in sentence)
    there = transition_log.read(folder / transition_log.LOG)
    seen = [_digest(t.decision, t.observation.state, t.actions, t.reward) for t in there]
    return seen + ([] if stated else [_digest(learning.core.digest)]), stated


def _other_record(folder, rng):
    """A whole frame that holds no transition, or one of another kind."""
    path = folder / transition_log.LOG
    kinds = (b"", b"[]", hostile_pickle(), rng.bytes(300), transition_log.encode(_transition(3))[:-9])
    with AppendLog(path) as log:
        log.append(kinds[rng.integers(len(kinds))])


def _huge_frame(folder, rng):
    """The last frame says, in a header with a sound checksum, that it is larger than all memory."""
    path = folder / transition_log.LOG
    header = append_log.HEADER.pack(append_log.MARKER, 10, 2**32 - 1)
    check = append_log.CRC.pack(append_log.google_crc32c.value(header))
    path.write_bytes(path.read_bytes() + header + check + b"x" * 100)


# ---- configuration and calibration ----------------------------------------------------------------------------------

SIM = Path(__file__).parents[2] / "config/sim.yaml"


def make_configuration(folder: Path) -> None:
    shutil.copy(SIM, folder / "sim.yaml")


def read_configuration(folder: Path) -> Reading:
    options = SessionOptions(params_file=str(folder / "sim.yaml"), run_dir="runs/x", base="base")
    return [_digest(spec.name, spec.parameters) for spec in build("finetune", options)], ""


BAD_YAML = (
    "/**: {ros__parameters: {seed: [1, 2]}}",
    "/**: {ros__parameters: {seed: -3}}",
    "/**: {ros__parameters: {seed: .nan}}",
    "/**: {ros__parameters: {timing: {action_hz: .inf}}}",
    "/**: {ros__parameters: {timing: fast}}",
    "/**: {ros__parameters: {timing: [1]}}",
    "/**: {ros__parameters: {timing.command_hz: 1e99}}",
    "/**: {ros__parameters: {[1, 2]: 3}}",
    "/**: {ros__parameters: {? {a: b} : 3}}",
    "/**: {ros__parameters: {1: 2}}",
    "/**: {ros__parameters: [1]}",
    "/**: {ros__parameters: {seed: 2001-13-45}}",
    "/**: {parameters: {}}",
    "/**/supervisr: {ros__parameters: {}}",
    "5: {ros__parameters: {seed: 1}}",
    "[1, 2, 3]",
    "just text",
    "/**: &a {ros__parameters: {task: *a}}",
    "/**: &a {ros__parameters: *a}",
    "/**/supervisor: {ros__parameters: {limits: {workspace_min_m: [0, 0]}}}",
    "/**/supervisor: {ros__parameters: {limits: {workspace_min_m: {x: 1}}}}",
    "/**/supervisor: {ros__parameters: {limits: {step_m: 1.0e+9}}}",
    "/**/supervisor: {ros__parameters: {limits: !!binary aGVsbG8=}}",
    "a: b: c",
    "\t",
    "%YAML 9.9",
    "--- 1\n--- 2",
)


def _bad_yaml(name: str) -> Spoiler:
    def bad_yaml(folder, rng):
        (folder / name).write_text(BAD_YAML[rng.integers(len(BAD_YAML))] + "\n")

    return bad_yaml


def _yaml(name: str) -> tuple[Spoiler, ...]:
    return (
        *[_bad_yaml(name)] * 6,
        written(name, lambda: f"/**: {{ros__parameters: {{seed: {hostile_yaml()}}}}}\n", "hostile_yaml"),
        written(name, laughs, "many_aliases"),
        written(name, lambda: "/**: {ros__parameters: {seed: " + "9" * 10_000 + "}}", "long_number"),
        written(name, lambda: b"\xff\xfe/**: {}", "other_encoding"),
        deep(name),
        deep(name, "{a: "),
        deep(name, "- "),
    )


def make_parameters(folder: Path) -> None:
    """What a session leaves beside its bag."""
    options = SessionOptions(run_dir="runs/x", base="base")
    write_parameters(folder / "sim.yaml", {spec.name: spec.parameters for spec in build("finetune", options)})


def make_calibration(folder: Path) -> None:
    camera = {
        "serial": "1234",
        "mount": "eye_to_hand",
        "intrinsics": {"width_px": 640, "height_px": 480, "focal_px": [615.0, 615.0], "centre_px": [319.5, 239.5]},
        "parent_from_camera": [[0.0, -1.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.1], [0.0, 0.0, 1.0, 0.9], [0.0, 0.0, 0.0, 1.0]],
        "views": 12,
        "reprojection_px": 0.31,
        "board_m": 0.0011,
        "board_deg": 0.21,
        "position_std_m": 0.0007,
    }
    Calibration.model_validate({"cameras": {"front": camera}}).write(folder / "calibration.json")


def read_calibration(folder: Path) -> Reading:
    calibration = Calibration.read(folder / "calibration.json")
    poses = [camera.camera(np.eye(4)).directions() for camera in calibration.cameras.values()]
    return [_digest(calibration.id, sorted(calibration.cameras), *poses)], ""


CALIBRATION = "calibration.json"

KINDS = (
    Kind(
        "bag",
        make_bag,
        read_bag,
        (
            _chunk_bomb(CompressionType.ZSTD),
            _chunk_bomb(CompressionType.LZ4),
            _chunk_bomb(CompressionType.NONE),
            _swelling_frame,
            *[_foreign_messages] * 4,
            _hostile_metadata,
            _many_aliases,
            deep("bag/metadata.yaml"),
        ),
    ),
    Kind("bag in SQLite", make_sqlite, read_bag, (*[SQL] * 8,)),
    Kind(
        "store",
        make_store,
        read_store,
        (
            *[_other_codec] * 3,
            *[_huge_shape] * 2,
            _swelling_chunk,
            *[wrong_value("demos.zarr/zarr.json")] * 3,
            wrong_value("demos.zarr/action/zarr.json"),
            wrong_value("demos.zarr/observation/images/front/zarr.json"),
            deep("demos.zarr/zarr.json"),
            deep("demos.zarr/action/zarr.json"),
        ),
    ),
    Kind("base", make_base, read_base, _checkpoint("base")),
    Kind("actor", make_actor, read_actor, _checkpoint("actor")),
    Kind("learner", make_learner, read_learner, _checkpoint("learner")),
    Kind("learner with its log", make_log, read_log, (*[_other_record] * 3, _huge_frame)),
    Kind("parameters of a run", make_parameters, read_configuration, _yaml("sim.yaml")),
    # Written by hand, without a checksum: what is another sound configuration cannot be told from what was meant.
    Kind("configuration", make_configuration, read_configuration, _yaml("sim.yaml"), general=()),
    Kind(
        "calibration",
        make_calibration,
        read_calibration,
        (
            *[wrong_value(CALIBRATION)] * 4,
            deep(CALIBRATION),
            deep(CALIBRATION, '{"a":'),
            written(CALIBRATION, lambda: "[]", "another_document"),
            written(CALIBRATION, lambda: "null", "another_document"),
            written(CALIBRATION, lambda: b"\xff\xfe{}", "other_encoding"),
        ),
    ),
)
