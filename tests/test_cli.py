"""The tmrl command: expected failures are one sentence and status 2, never a traceback."""

import pytest

from tmrl_ros import __version__
from tmrl_ros.session import cli


def tmrl(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["tmrl", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_version(monkeypatch, capsys):
    assert tmrl(monkeypatch, capsys, "--version") == (0, f"{__version__}\n", "")


def test_help_names_the_commands(monkeypatch, capsys):
    status, out, _ = tmrl(monkeypatch, capsys, "--help")
    assert status == 0
    assert all(command in out for command in ("demo", "up", "pretrain", "report"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["up", "finetune", "minuts:=3"], "minuts is no argument; did you mean minutes?"),
        (["up", "finetune", "params_file:=/nowhere.yaml"], "parameter file /nowhere.yaml: No such file"),
        (["up", "finetune", "method:=base"], "method base does not learn"),
        (["up", "dance"], "'dance' is not one of"),
        (["demo", "--seed=-1"], "greater than or equal to 0"),
        (["demo", "--tusk", "pick_cube"], "No such option"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(monkeypatch, capsys, words, sentence):
    status, out, err = tmrl(monkeypatch, capsys, *words)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.startswith("tmrl: ")
    assert err.count("\n") == 1
