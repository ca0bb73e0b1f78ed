"""A recorded session played back into policy and learner over ROS: they publish what they published then."""

import json
import sqlite3
from pathlib import Path

import pytest
import yaml

from tmrl_ros.data import bag
from tmrl_ros.errors import ConfigError, DataError
from tmrl_ros.session import cli, graph, playing
from tmrl_ros.session.starter import NodeDied, run_session

PATIENCE_S = 60.0
MINUTES = 0.6
RATE = 30.0


@pytest.fixture(scope="module")
def recorded(finetuning, tmp_path_factory) -> Path:
    """The run folder of a session over ROS."""
    folder = tmp_path_factory.mktemp("recorded")
    assert run_session(finetuning(folder, PATIENCE_S, minutes=MINUTES), folder) == 0
    return folder


def play(run: Path, **options) -> dict:
    words = {"run_dir": run, "rate": RATE, "patience_s": 30, **options}
    playing.run([f"{name}:={value}" for name, value in words.items()])
    return json.loads((run / "comparison.json").read_text())


def messages(path, topic) -> int:
    return bag.counts(path)[topic]


def test_policy_and_learner_make_of_the_bag_what_they_made_then(recorded, tmp_path):
    found = play(tmp_path, bag=recorded / "bag", nodes="policy,learner")
    chunks, versions = found["compared"]["/action_chunk"], found["compared"]["/actor_update"]
    assert chunks["both"] == chunks["equal"] == messages(recorded / "bag", "/action_chunk") > 20
    assert chunks["only recorded"] == chunks["only published"] == 0
    assert versions["equal"] == versions["both"] > 4 and versions["only recorded"] <= 1  # the last decision's
    assert found["played"]["/decision_request"] == chunks["both"]
    assert "/action_chunk" not in found["played"]


def test_a_subset_of_nodes_hears_the_rest_from_the_bag_and_a_recorder_records_them(recorded, tmp_path):
    found = play(tmp_path, bag=recorded / "bag", nodes="policy recorder")
    assert set(found["compared"]) == {"/action_chunk"} and found["played"]["/actor_update"] > 4
    assert playing.same(found["compared"])
    assert messages(tmp_path / "bag", "/action_chunk") == found["compared"]["/action_chunk"]["both"]


def as_sqlite(source: Path, folder: Path, renamed: dict[str, str]) -> Path:
    """The bag as rosbag2's SQLite storage holds it, topics renamed, and one topic of an unknown type."""
    folder.mkdir()
    database = sqlite3.connect(folder / f"{folder.name}_0.db3")
    database.execute(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
        "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, "
        "data BLOB NOT NULL)"
    )
    numbers = {}
    found = list(bag.read(source))
    for m in [*found, bag.BagMessage("/strange", "strange_msgs/msg/Thing", found[0].stamp_ns, b"\0\1\0\0")]:
        if m.topic not in numbers:
            numbers[m.topic] = len(numbers) + 1
            row = (numbers[m.topic], renamed.get(m.topic, m.topic), m.type_name, "cdr", "")
            database.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?)", row)
        row = (numbers[m.topic], m.stamp_ns, m.data)
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    database.commit()
    database.close()
    information = {"version": 5, "storage_identifier": "sqlite3", "compression_mode": ""}
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    return folder


def test_an_sqlite_bag_with_other_names_plays_remapped(recorded, tmp_path):
    path = as_sqlite(recorded / "bag", tmp_path / "foreign", {"/observation": "/cell/observation"})
    words = {"params_file": recorded / "parameters.yaml", "remap": "/cell/observation:=/observation"}
    found = play(tmp_path / "run", bag=path, nodes="policy", **words)
    assert playing.same(found["compared"]) and found["compared"]["/action_chunk"]["both"] > 20
    assert "/strange" not in found["played"]
    assert "no package here has strange_msgs/msg/Thing" in (tmp_path / "run/logs/player.log").read_text()


def test_another_policy_is_told_from_the_recorded_one(recorded, tmp_path):
    other = yaml.safe_load((recorded / "parameters.yaml").read_text())
    other["/**/policy"]["ros__parameters"]["modulation"]["sigma_max"] = 0.2
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    found = play(tmp_path / "run", bag=recorded / "bag", params_file=tmp_path / "other.yaml")
    chunks = found["compared"]["/action_chunk"]
    assert chunks["equal"] < chunks["both"] and not playing.same(found["compared"])


def test_what_cannot_be_played_is_refused_in_a_sentence(recorded, tmp_path):
    for words, kind, sentence in (
        ({"bag": tmp_path / "none"}, DataError, "does not exist; name a folder or file to play"),
        ({"bag": recorded / "bag", "nodes": "sim"}, ConfigError, "a bag is played into some of perception, policy"),
        ({"bag": recorded / "bag", "topics": "/observatoin"}, NodeDied, "/observatoin is not in the bag; it has /act"),
        ({"bag": recorded / "bag", "remap": "a=b"}, NodeDied, "a=b is no FROM:=TO"),
    ):
        with pytest.raises(kind, match=sentence):
            play(tmp_path / "run", **words)


def test_a_misspelt_argument_is_told_by_the_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tmrl", "up", "replay", "bga:=x"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "did you mean bag?" in capsys.readouterr().err


def test_what_nodes_write_goes_to_the_replays_own_folder(recorded, tmp_path):
    options = graph.ReplayOptions(bag=str(recorded / "bag"), nodes="learner recorder", run_dir=str(tmp_path))
    specs = {spec.name: spec for spec in graph.build_replay(options)}
    assert specs["learner"].parameters["checkpoint"] == str(tmp_path / "checkpoints")
    assert specs["recorder"].parameters["bag"] == str(tmp_path / "bag")
    assert specs["learner"].parameters["sac"]["batch"] == 16, "not the session's parameters"
    assert [spec.use_sim_time for spec in specs.values()] == [True, True, False]
