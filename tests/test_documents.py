"""Documents from files: plain ones are read, and what would harm a reader is refused with a reason."""

import pytest

from tmrl_ros import documents
from tmrl_ros.errors import ConfigError
from tmrl_ros.parameters import read_parameters, write_parameters


def test_plain_documents_are_read():
    assert documents.from_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    assert documents.from_yaml(b"a: [1, 2.5, null]\nb: {c: text}") == {"a": [1, 2.5, None], "b": {"c": "text"}}
    assert documents.from_yaml(b"") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 100_000, "nested deeper than"),
        (b"- " * 100_000, "nested deeper than"),
        (b"a: &x 1\nb: *x", "line 2 has an alias"),
        (b"\xff\xfe", "codec can't decode"),
        (b"a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"a: 2001-13-45", "month must be in"),
        (b"a: " + b"9" * 10_000, "integer string conversion"),
        (b"a: b: c", "mapping values are not allowed"),
    ],
    ids=["deep", "deep list", "alias", "encoding", "tag", "date", "number", "syntax"],
)
def test_yaml_that_would_harm_is_refused_in_one_line(data, reason):
    with pytest.raises(ValueError, match=reason) as error:
        documents.from_yaml(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff"], ids=["list", "map", "cut", "code"]
)
def test_json_that_would_harm_is_refused(data):
    with pytest.raises(ValueError):
        documents.from_json(data)


@pytest.mark.parametrize("value", ["x" * 10**6, 10**5000, list(range(10**5))], ids=["text", "number", "list"])
def test_any_value_can_stand_in_a_sentence(value):
    assert len(documents.shown(value)) <= 80


def test_parameters_that_were_written_are_read_back_and_a_change_is_refused_until_it_is_meant(tmp_path):
    file = tmp_path / "parameters.yaml"
    write_parameters(file, {"sim": {"seed": 7, "shift": {"mass_scale": 2.0}}})
    assert read_parameters(file, ["sim"]) == {"sim": {"seed": 7, "shift": {"mass_scale": 2.0}}}
    text = file.read_text()
    file.write_text(text.replace("seed: 7", "seed: 8"))
    with pytest.raises(ConfigError, match="remove its first line if the change is meant"):
        read_parameters(file, ["sim"])
    file.write_text(text.replace("seed: 7", "seed: 8").partition("\n")[2])
    assert read_parameters(file, ["sim"])["sim"]["seed"] == 8
