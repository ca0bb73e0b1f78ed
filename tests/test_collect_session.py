"""A whole collect session with every node as a process of its own, from the starter."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from tmrl_ros.data import store
from tmrl_ros.perception.state import STATE_NAMES
from tmrl_ros.session import cli
from tmrl_ros.session.graph import SessionOptions, build
from tmrl_ros.session.starter import run_session
from tmrl_ros.types import SessionState


def test_a_collect_session_runs_to_its_end_leaves_no_process_and_becomes_a_store(tmp_path, monkeypatch, capfd):
    options = SessionOptions(episodes=2, run_dir=str(tmp_path))
    statuses, pids = [], {}
    specs = build("collect", options)
    assert run_session(specs, tmp_path, statuses.append, on_started=pids.update) == 0
    assert statuses[-1].state == SessionState.ENDED
    assert statuses[-1].episodes >= 2
    assert set(pids) == {spec.name for spec in specs}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert list((tmp_path / "bag").glob("*.mcap"))
    logs = {path.stem: path.read_text() for path in (tmp_path / "logs").glob("*.log")}
    assert set(logs) == set(pids)
    assert not any("Traceback" in text for text in logs.values())
    monkeypatch.setattr("sys.argv", ["tmrl", "data", "import", str(tmp_path / "bag"), str(tmp_path / "demos.zarr")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0 and "2 episodes" in capfd.readouterr().out
    demonstrations = store.read(tmp_path / "demos.zarr")
    assert demonstrations.meta.task == "pick_cube" and demonstrations.meta.state_names == STATE_NAMES
    assert demonstrations.states.shape == (demonstrations.ends[-1], len(STATE_NAMES))
