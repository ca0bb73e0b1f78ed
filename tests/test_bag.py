"""Bags: what is written is read back, also after a kill; damage is a DataError; other tools read the same."""

import functools
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseStamped
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from tmrl_ros.data import bag, bag_segment, schema
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.errors import DataError

POSE, JOINTS = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/JointState"


@functools.cache  # CDR padding is not initialised: serialised once, compared byte for byte
def pose(tick: int) -> bytes:
    message = PoseStamped()
    message.header.stamp.sec, message.header.frame_id = tick, "fr3_link0"
    message.pose.position.x = tick / 10
    return serialize_message(message)


@functools.cache
def joints(tick: int) -> bytes:
    return serialize_message(JointState(name=["fr3_joint1", "fr3_joint2"], position=[float(tick), -1.0]))


def fill(writer: BagWriter, ticks) -> None:
    for tick in ticks:
        writer.write("/pose", tick * 10**9, pose(tick))
        writer.write("/joints", tick * 10**9, joints(tick))


def open_writer(folder) -> BagWriter:
    writer = BagWriter(folder, ros_distro="kilted")
    writer.add_topic("/pose", POSE, schema.definition(POSE), schema.type_hash(POSE), latched=True)
    writer.add_topic("/joints", JOINTS, schema.definition(JOINTS))
    return writer


@pytest.fixture
def folder(tmp_path):
    with open_writer(tmp_path / "run_bag") as writer:
        fill(writer, range(1, 101))
    return tmp_path / "run_bag"


def test_messages_come_back_in_order_byte_for_byte(folder):
    messages = list(bag.read(folder))
    assert [m.topic for m in messages[:2]] == ["/pose", "/joints"] and len(messages) == 200
    assert messages[-1] == bag.BagMessage("/joints", JOINTS, 100 * 10**9, joints(100))
    assert bag.is_complete(folder) and bag.counts(folder) == {"/pose": 100, "/joints": 100}


def test_messages_are_decoded_from_the_bags_own_definitions(folder):
    with (folder / "run_bag_0.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        decoded = [message for *_, message in reader.iter_decoded_messages(topics=["/pose"])]
    assert len(decoded) == 100
    assert decoded[4].header.frame_id == "fr3_link0" and decoded[4].pose.position.x == 0.5


def test_only_the_wanted_types_are_read(folder):
    assert {message.topic for message in bag.read(folder, {JOINTS})} == {"/joints"}


def test_metadata_is_what_rosbag2_expects(folder):
    information = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["version"] == 9 and information["relative_file_paths"] == ["run_bag_0.mcap"]
    assert information["duration"] == {"nanoseconds": 99 * 10**9} and information["message_count"] == 200
    topic = information["topics_with_message_count"][0]
    assert topic["message_count"] == 100 and topic["topic_metadata"]["type"] == POSE
    assert topic["topic_metadata"]["offered_qos_profiles"][0]["durability"] == "transient_local"
    assert topic["topic_metadata"]["type_description_hash"].startswith("RIHS01_")


def test_another_library_reads_the_same_messages(folder):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    stores = pytest.importorskip("rosbags.typesys")
    types = stores.get_typestore(stores.Stores.ROS2_JAZZY)
    with rosbag2.Reader(folder) as reader:
        read = [(connection.topic, stamp, bytes(data)) for connection, stamp, data in reader.messages()]
        assert reader.message_count == 200 and reader.ros_distro == "kilted"
    assert read == [(m.topic, m.stamp_ns, m.data) for m in bag.read(folder)]
    assert types.deserialize_cdr(read[0][2], POSE).pose.position.x == 0.1


def test_a_bag_of_a_killed_process_is_readable_up_to_its_last_flush(tmp_path):
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]); import pathlib; import test_bag as t\n"
        "w = t.open_writer(pathlib.Path(sys.argv[2])); t.fill(w, range(1, 51)); w.flush(); t.fill(w, range(51, 61))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    folder = tmp_path / "killed"
    subprocess.run([sys.executable, "-c", script, Path(__file__).parent, folder], timeout=60, check=False)
    assert not bag.is_complete(folder)
    assert len(list(bag.read(folder))) == 100
    information = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["message_count"] == 100


def test_a_bag_cut_anywhere_reads_a_prefix(folder):
    file = folder / "run_bag_0.mcap"
    whole, messages = file.read_bytes(), list(bag.read(folder))
    for cut in np.linspace(8, len(whole) - 1, 12).astype(int):
        file.write_bytes(whole[:cut])
        kept = list(bag.read(folder))
        assert kept == messages[: len(kept)] and not bag.is_complete(folder)


def test_a_flipped_bit_is_never_read_as_a_message(folder):
    file = folder / "run_bag_0.mcap"
    whole, messages, refused = file.read_bytes(), list(bag.read(folder)), 0
    for position in np.random.default_rng(0).choice(len(whole), 60, replace=False):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        file.write_bytes(flipped)
        try:
            kept = list(bag.read(folder))
        except DataError as error:
            refused += 1
            assert str(file) in str(error)
        else:
            assert kept == messages  # an index or a summary, which reading does not need
    assert refused > 5


def test_wrong_paths_are_named(tmp_path, folder):
    with pytest.raises(DataError, match="nowhere is not a bag"):
        list(bag.read(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="run_bag already exists"):
        BagWriter(folder)
    with pytest.raises(DataError, match=r"none_msgs/msg/Nothing\.msg is not under"):
        schema.definition("none_msgs/msg/Nothing")


def test_a_definition_carries_every_message_inside_it_once(tmp_path):
    texts = {"A": "B one\na_msgs/B[2] two\nother_msgs/msg/C c # D no\nuint8 N=3\n", "B": "string<=5 s\n"}
    for name, text in texts.items():
        (tmp_path / "a_msgs/msg").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"a_msgs/msg/{name}.msg").write_text(text)
    (tmp_path / "other_msgs/msg").mkdir(parents=True)
    (tmp_path / "other_msgs/msg/C.msg").write_text("float64[<=3] x\n")
    text = schema.definition("a_msgs/msg/A", [tmp_path])
    assert [line for line in text.splitlines() if line.startswith("MSG")] == ["MSG: a_msgs/B", "MSG: other_msgs/C"]


def test_a_bag_goes_on_in_another_file(folder):
    first = list(bag.read(folder))
    with BagWriter(folder, "kilted", resume=True) as writer:
        writer.add_topic("/joints", JOINTS, schema.definition(JOINTS))
        writer.write("/joints", 200 * 10**9, joints(1))
    assert [file.name for file in bag.files(folder)] == ["run_bag_0.mcap", "run_bag_1.mcap"]
    assert list(bag.read(folder)) == [*first, bag.BagMessage("/joints", JOINTS, 200 * 10**9, joints(1))]
    information = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["message_count"] == 201 and information["duration"] == {"nanoseconds": 199 * 10**9}
    assert [(file["path"], file["message_count"]) for file in information["files"]] == [
        ("run_bag_0.mcap", 200),
        ("run_bag_1.mcap", 1),
    ]
    counts = {t["topic_metadata"]["name"]: t["message_count"] for t in information["topics_with_message_count"]}
    assert counts == {"/pose": 100, "/joints": 101}
    assert information["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_that_a_kill_cut_is_mended_before_its_bag_goes_on(folder, share):
    file = folder / "run_bag_0.mcap"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    kept = list(bag.read(folder))
    with BagWriter(folder, resume=True):
        pass
    assert bag.is_complete(folder) and list(bag.read(folder)) == kept
    with file.open("rb") as stream:  # by its index now, as other tools read it
        assert sum(1 for _ in make_reader(stream).iter_messages()) == len(kept)
    assert not bag_segment.mend(file)


def test_a_bag_that_is_damaged_or_not_ours_does_not_go_on(folder, tmp_path):
    file = folder / "run_bag_0.mcap"
    data = bytearray(file.read_bytes())
    data[data.index(b"fr3_joint") if b"fr3_joint" in data else len(data) // 5] ^= 0x10  # in a chunk
    file.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        BagWriter(folder, resume=True)
    assert file.read_bytes() == data
    file.rename(folder / "other.mcap")
    with pytest.raises(DataError, match="is not of a bag that can go on"):
        BagWriter(folder, resume=True)


def test_a_long_bag_gets_a_file_every_so_often_and_each_opens_alone(tmp_path):
    attached = {"parameters.yaml": b"/**: {}", "calibration.json": b"{}"}
    with BagWriter(tmp_path / "long", "kilted", segment_s=10.0, attachments=attached) as writer:
        writer.add_topic("/pose", POSE, schema.definition(POSE))
        for tick in range(25):
            writer.write("/pose", tick * 10**9, pose(tick))
            if tick % 4 == 0:
                writer.flush()
                writer.sync()
    files = bag.files(tmp_path / "long")
    assert [len(list(bag.read(file))) for file in files] == [10, 10, 5]
    assert [message.data for message in bag.read(tmp_path / "long")] == [pose(tick) for tick in range(25)]
    assert all(bag.attachments(file) == attached for file in files)
    information = yaml.safe_load((tmp_path / "long/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert [file["message_count"] for file in information["files"]] == [10, 10, 5]
    assert information["message_count"] == 25 and information["duration"] == {"nanoseconds": 24 * 10**9}


def test_what_is_put_into_a_bag_survives_a_kill_and_is_checked(tmp_path):
    attached = {"parameters.yaml": b"seed: 17"}
    with BagWriter(tmp_path / "bag", attachments=attached) as writer:
        writer.add_topic("/pose", POSE, schema.definition(POSE))
        writer.write("/pose", 1, pose(1))
    file = tmp_path / "bag/bag_0.mcap"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert bag_segment.mend(file) and bag.attachments(file) == attached
    file.write_bytes(whole.replace(b"seed: 17", b"seed: 18"))
    with pytest.raises(DataError, match=r"parameters\.yaml in bag .* is damaged"):
        bag.attachments(file)
    with pytest.raises(DataError, match="damaged"):
        list(bag.read(file))


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE])
@pytest.mark.parametrize("size", [16, 2**40])
def test_a_chunk_that_says_another_size_than_it_has_is_refused(tmp_path, compression, size):
    """A bomb is little on the disk and gigabytes in memory."""
    file = tmp_path / "bomb.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream, compression=compression)
        writer.start()
        channel = writer.register_channel("/a", "cdr", writer.register_schema("a", "ros2msg", b""))
        writer.add_message(channel, 0, bytes(2**20), 0)
        writer.finish()
    with file.open("rb") as stream:
        chunk = next(r for r in StreamReader(stream, emit_chunks=True).records if isinstance(r, Chunk))
    said = struct.pack("<Q", chunk.uncompressed_size)
    file.write_bytes(file.read_bytes().replace(said, struct.pack("<Q", size), 1))
    with pytest.raises(DataError, match="damaged"):
        list(bag.read(file))


def sqlite_bag(folder: Path, kind="cdr", tables=True) -> Path:
    folder.mkdir()
    database = sqlite3.connect(folder / "a_0.db3")
    if tables:
        database.execute("CREATE TABLE topics(id INTEGER, name TEXT, type TEXT, serialization_format TEXT)")
        database.execute("CREATE TABLE messages(id INTEGER, topic_id INTEGER, timestamp INTEGER, data BLOB)")
        database.executemany(
            "INSERT INTO topics VALUES (?, ?, ?, ?)", [(1, "/pose", POSE, kind), (2, "/joints", JOINTS, kind)]
        )
        rows = [(1, 2, 2 * 10**9, joints(2)), (2, 1, 10**9, pose(1)), (3, 1, 2 * 10**9, pose(2))]
        database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return folder


def test_an_sqlite_bag_is_read_in_the_order_of_its_stamps(tmp_path):
    folder = sqlite_bag(tmp_path / "a")
    expected = [("/pose", 1, pose(1)), ("/joints", 2, joints(2)), ("/pose", 2, pose(2))]
    assert [(m.topic, m.stamp_ns // 10**9, m.data) for m in bag.read(folder)] == expected
    assert [m.type_name for m in bag.read(folder, {POSE})] == [POSE, POSE]
    assert bag.counts(folder) == {"/pose": 2, "/joints": 1} and bag.is_complete(folder)


def test_other_sqlite_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="lacks the tables topics and messages"):
        list(bag.read(sqlite_bag(tmp_path / "a", tables=False)))
    with pytest.raises(DataError, match="serialised as 'json'; convert the bag"):
        list(bag.read(sqlite_bag(tmp_path / "b", kind="json")))
    file = sqlite_bag(tmp_path / "c") / "a_0.db3"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged"):
        list(bag.read(tmp_path / "c"))


def test_a_bag_that_rosbag2_compressed_is_refused_by_its_mode(folder):
    text = (folder / "metadata.yaml").read_text().replace("compression_mode: ''", "compression_mode: MESSAGE")
    (folder / "metadata.yaml").write_text(text)
    with pytest.raises(DataError, match=r"compressed by rosbag2 \(MESSAGE mode\); write it plain"):
        list(bag.read(folder))
