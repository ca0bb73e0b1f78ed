"""The kill benchmark sees what it counts: a lost, a doubled, a changed decision, a bag that lacks too much."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.serialization import serialize_message

from tmrl_ros.config import Timing
from tmrl_ros.data import schema, transition_log
from tmrl_ros.data.append_log import AppendLog
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes import replay
from tmrl_ros.nodes.convert import actor_update_msg, to_msg
from tmrl_ros.types import Decision, Mode, Modulation, Observation

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import kills

SECOND = 10**9
COUNT = 12


def records() -> list:
    out = []
    for number in range(COUNT):
        out.append(Observation(number * SECOND + 1, np.full(3, number, np.float32)))
        if number:
            out.append(
                Decision(
                    (number - 1) * SECOND + 1,
                    number * SECOND + 1,
                    0,
                    number - 1,
                    Mode.POLICY,
                    np.full((8, 4), number / 20, np.float32),
                    Modulation(np.zeros(4, np.float32), 0.5),
                    0,
                    -1.0,
                    False,
                    False,
                    False,
                    False,
                    float(number),
                )
            )
    return out


@pytest.fixture
def run(tmp_path):
    """A run folder with a bag of 11 decisions, of which version 8 counts the first 8, and nothing in its log."""
    kinds = {"Observation": "/observation", "Decision": "/decision", "ActorUpdate": "/actor_update"}
    with BagWriter(tmp_path / "bag") as writer:
        for kind, topic in kinds.items():
            writer.add_topic(topic, f"tmrl_msgs/msg/{kind}", schema.definition(f"tmrl_msgs/msg/{kind}"))
        for record in records():
            writer.write(kinds[type(record).__name__], record.stamp_ns, serialize_message(to_msg(record)))
        writer.write("/actor_update", 9 * SECOND, serialize_message(actor_update_msg(0, 8, "tmrl", b"", {})))
    return tmp_path


def checked(run, logged) -> kills.Outcome:
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    with AppendLog(run / "checkpoints" / transition_log.LOG) as log:
        for transition in logged:
            log.append(transition_log.encode(transition))
    outcome = kills.Outcome()
    kills._check_decisions(run, outcome)
    return outcome


def transitions(run) -> list:
    found = list(replay.transitions(run / "bag", Timing()))
    assert len(found) == len(assemble(records(), Timing())[0]) == COUNT - 1
    return found


def test_all_is_well_where_all_that_was_acknowledged_is_there(run):
    for count in (8, 9, COUNT - 1):
        outcome = checked(run, transitions(run)[:count])
        assert (outcome.lost, outcome.wrong, outcome.notes) == (0, 0, [])


def test_a_lost_a_doubled_and_a_changed_decision_are_seen(run):
    whole = transitions(run)
    assert checked(run, whole[:5]).lost == 3
    assert checked(run, []).lost == 8
    assert checked(run, [*whole[:3], *whole[4:]]).lost == 1
    assert checked(run, [*whole, whole[-1]]).wrong == 1
    outcome = checked(run, [*whole[:4], replace(whole[4], reward=-0.5), *whole[5:]])
    assert outcome.wrong == 1 and "other than recorded [4]" in outcome.notes[0]


@pytest.mark.parametrize(("heard_s", "ok"), [(0.5, 1), (1.5, 0)])
def test_a_bag_may_lack_one_second_and_no_more(run, heard_s, ok):
    killer, outcome = kills.Killer(("recorder",), np.random.default_rng(0)), kills.Outcome()
    killer.heard = [(100.0, 5.0), (200.0 - heard_s, COUNT + 3.0)]  # what the bag does not know of any more
    kills._check_bag(run, "recorder", 200.0, killer, outcome)
    assert outcome.bags_ok == ok and outcome.bag_lacks_s == [pytest.approx(heard_s)]


def test_a_damaged_bag_is_seen(run):
    file = run / "bag/bag_0.mcap"
    data = bytearray(file.read_bytes())
    data[len(data) // 5] ^= 1
    file.write_bytes(data)
    outcome = kills.Outcome()
    kills._check_bag(run, "recorder", 1.0, kills.Killer(("recorder",), np.random.default_rng(0)), outcome)
    assert outcome.bags_ok == 0 and "damaged" in outcome.notes[0]


def facts(seed, kills_made, lost=0, **changes) -> dict:
    victims = {"learner": kills_made - 1, "recorder": 1}
    result = {"kills": kills_made, "lost": lost, "wrong": 0, "bags_ok": 1.0, "checkpoints_ok": 1.0}
    lacks = {"recorder_kills": 1, "median": 0.1, "max": 0.1 * seed}
    run = {"seed": seed, "revision": "abc", "command": "x", "result": result, "kills": victims, "sessions": 1}
    run |= {"kills_while_running": kills_made, "acknowledged_decisions": 7, "bag_lacks_s": lacks, "wall_minutes": 1.0}
    return run | {"notes": []} | changes


def test_runs_add_up_and_one_that_goes_on_replaces_what_it_was(tmp_path):
    kills.keep(tmp_path, facts(1, 162))
    kills.keep(tmp_path, facts(2, 10))
    kills.keep(tmp_path, facts(2, 20, lost=3, notes=["something"]))
    assert [run["result"]["kills"] for run in kills.recorded_runs(tmp_path)] == [162, 20]
    text = (tmp_path / "kills.md").read_text()
    assert "**182 of 1,000 kills**" in text and "| of them lost | **3** |" in text
    assert "killed: learner, recorder | 180, 2 |" in text and "at most 0.20 s" in text and "seed 2: something" in text
