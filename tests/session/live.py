"""`tmrl view` as a process beside a test, and what it wrote."""

import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory


@contextmanager
def viewer(cell, *options):
    """(process, port) of one that listens."""
    command = [sys.executable, "-m", "tmrl_ros.session.cli", "view", str(cell), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        assert said.startswith("ws://127.0.0.1:"), said
        yield process, int(said.split(":")[2])
    finally:
        process.kill()
        process.wait()


def written(file):
    """By topic: [(log time, message)], JSON as a dict."""
    out = {}
    with open(file, "rb") as data:
        reader = make_reader(data, decoder_factories=[DecoderFactory()])
        for schema, channel, message in reader.iter_messages():
            decode = json.loads
            if channel.message_encoding == "protobuf":
                decode = DecoderFactory().decoder_for("protobuf", schema)
            out.setdefault(channel.topic, []).append((message.log_time, decode(message.data)))
    return out


def xyz(cloud):
    """float32 [n, 3] of a PointCloud."""
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "red", "green", "blue", "alpha"]
    return np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_stride // 4)[:, :3]


def rgb(cloud):
    """The colours that its points have."""
    rows = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_stride)[:, 12:15]
    return {tuple(row) for row in rows.tolist()}
