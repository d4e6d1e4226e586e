from __future__ import annotations

import pytest

from engine.errors import ConfigError
from models.tuning.plain import read_plain, value_at, with_values


def test_values_are_set_in_a_copy():
    """Sections are made on the way; what was given stays as it was, also lists that are values."""
    given = {"fit": {"epochs": 3}, "name": "a"}
    sizes = [8, 4]
    made = with_values(given, {"fit.epochs": 1, "network.mlp.sizes": sizes})
    sizes.append(2)
    assert given == {"fit": {"epochs": 3}, "name": "a"}
    assert made == {"fit": {"epochs": 1}, "name": "a", "network": {"mlp": {"sizes": [8, 4]}}}
    assert value_at(made, "network.mlp.sizes") == [8, 4]
    assert value_at(made, "network.cnn.sizes") is None
    assert value_at(made, "name.x") is None
    with pytest.raises(ConfigError, match=r"name\.x: name is no section"):
        with_values(given, {"name.x": 1})


@pytest.mark.parametrize(
    ("content", "said"), [(b"a: [", "is not YAML"), (b"- 1", "holds no settings"), (b"\xff\xfe\x00", "is not YAML")]
)
def test_a_file_that_is_none_is_one_line(tmp_path, content, said):
    """Broken, a list, bytes."""
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_plain(path, "settings")
    assert "\n" not in str(caught.value)
