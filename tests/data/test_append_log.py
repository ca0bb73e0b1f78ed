"""The append log: a kill costs at most the record in hand, damage anywhere else is refused, and both are said."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.data import append_log
from tmrl_ros.data.append_log import AppendLog
from tmrl_ros.errors import DataError

RECORDS = [b"", b"a", b"second", bytes(range(256)) * 20, b"last one"]


@pytest.fixture
def log(tmp_path):
    with AppendLog(tmp_path / "a.log") as writer:
        assert [writer.append(record) for record in RECORDS] == list(range(len(RECORDS)))
    return tmp_path / "a.log"


def test_what_was_appended_is_read_in_order_and_can_go_on(log):
    assert list(append_log.read(log)) == RECORDS
    with AppendLog(log) as writer:
        assert (writer.records, writer.lost_bytes) == (len(RECORDS), 0)
        writer.append(b"more")
    assert list(append_log.read(log)) == [*RECORDS, b"more"]


def test_a_log_cut_anywhere_keeps_its_whole_records_and_says_what_it_lost(log, tmp_path):
    whole = log.read_bytes()
    ends = [len(append_log.MAGIC)]
    for record in RECORDS:
        ends.append(ends[-1] + append_log.OVERHEAD + len(record))
    assert ends[-1] == len(whole)
    for size in [*range(0, 200), *range(len(whole) - 60, len(whole) + 1)]:
        cut = tmp_path / "cut.log"
        cut.write_bytes(whole[:size])
        kept = max((end for end in ends if end <= size), default=0)
        with AppendLog(cut) as writer:
            assert writer.lost_bytes == size - kept
            writer.append(b"after")
        assert list(append_log.read(cut)) == [*RECORDS[: max(0, ends.index(kept) if kept else 0)], b"after"]


@settings(max_examples=150)
@given(st.data())
def test_a_flipped_bit_is_refused_or_costs_the_last_record_and_never_reads_as_something_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "a.log"
    with AppendLog(path) as writer:
        for record in RECORDS:
            writer.append(record)
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    in_last = bit // 8 >= len(whole) - append_log.OVERHEAD - len(RECORDS[-1])
    if in_last:
        assert list(append_log.read(path)) == RECORDS[:-1]
        with AppendLog(path) as writer:
            assert writer.lost_bytes == append_log.OVERHEAD + len(RECORDS[-1])
    else:
        with pytest.raises(
            DataError, match=r"is no log|record \d at byte \d+ is not whole, but record \d behind it is"
        ):
            list(append_log.read(path))
        with pytest.raises(DataError):
            AppendLog(path)
        assert path.read_bytes() == whole, "a damaged log must stay as it is"


def test_a_record_that_was_taken_out_or_doubled_is_refused(log):
    whole, size = log.read_bytes(), append_log.OVERHEAD + 1
    start = len(append_log.MAGIC) + append_log.OVERHEAD  # of the record "a"
    for changed in (whole[:start] + whole[start + size :], whole[: start + size] + whole[start:]):
        log.write_bytes(changed)
        with pytest.raises(DataError, match="is not whole, but record"):
            list(append_log.read(log))


def test_zeros_at_the_end_as_after_a_power_cut_are_cut_off(log):
    log.write_bytes(log.read_bytes() + bytes(5000))
    with AppendLog(log) as writer:
        assert writer.lost_bytes == 5000
    assert list(append_log.read(log)) == RECORDS


def test_the_digest_names_the_content(log, tmp_path):
    with AppendLog(log) as writer:
        whole = writer.digest
        writer.append(b"x")
        assert writer.digest != whole
    assert append_log.digest(log, len(RECORDS)) == whole
    assert append_log.digest(log, len(RECORDS) + 2) is None


def test_another_file_and_a_second_writer_are_refused(log, tmp_path):
    (tmp_path / "text").write_text("no log at all")
    with pytest.raises(DataError, match="is no log"):
        AppendLog(tmp_path / "text")
    assert (tmp_path / "text").read_text() == "no log at all"
    with AppendLog(log), pytest.raises(DataError, match="is being written by another process"):
        AppendLog(log)


def test_a_full_disk_is_a_sentence_and_leaves_the_log_whole(log):
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with AppendLog(log) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, limits[1]))
            with pytest.raises(DataError, match=r"cannot be written \(File too large\)"):
                writer.append(bytes(5000))
            writer.append(b"small")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(append_log.read(log)) == [*RECORDS, b"small"]


WRITES = """
import sys
from tmrl_ros.data.append_log import AppendLog
with AppendLog(sys.argv[1], sync_s=60) as log:
    while True:
        number = log.append(bytes([log.records % 251]) * (log.records * 7919 % 20000))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("seed", range(3))
def test_no_record_that_was_acknowledged_is_lost_by_a_kill(seed, tmp_path):
    said = tmp_path / "said"
    environment = {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    for number in range(2):  # the second goes on with what the first left
        with said.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-c", WRITES, tmp_path / "a.log"], stdout=out, env=environment)
            while said.stat().st_size == 0:
                assert process.poll() is None
                time.sleep(0.005)
            time.sleep(random.Random(10 * seed + number).uniform(0, 0.1))
            process.kill()
            process.wait()
        acknowledged = int(said.read_text().rsplit("\n", 2)[-2])
        records = list(append_log.read(tmp_path / "a.log"))
        assert acknowledged < len(records) <= acknowledged + 2
        assert all(record == bytes([n % 251]) * (n * 7919 % 20000) for n, record in enumerate(records))
