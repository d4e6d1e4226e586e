from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import run
from engine.errors import ConfigError
from models import networks
from models.networks.settings import AssetSettings, LstmSettings
from tests.support.networks import COLUMNS, MODES, SMALL, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

ROOT = Path(__file__).resolve().parents[4]
EXACT = {"lstm": 602_625, "cnn": 130_081, "attention": 410_241, "ensemble": 1_145_959, "gru": 460_289}
"""Of 40 columns and 30 rows; all but the GRU's are given, and the GRU's is three quarters of the LSTM's layers."""


@pytest.fixture(scope="module")
def table():
    return {row["name"]: row for row in networks.table()}


# --- the table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), EXACT.items())
def test_parameter_counts_are_exact(table, name, parameters):
    """Counts them in the table that the command prints."""
    assert table[name]["parameters"] == parameters


def test_of_an_ensemble_only_what_combines_learns(table):
    """451 of the weight predictor and 2,561 of the meta-learner; the members' are counted and frozen."""
    assert table["ensemble"]["trainable"] == 451 + 2_561
    assert table["lstm_ensemble"]["trainable"] == 0  # a mean
    members = sum(EXACT[name] for name in ("lstm", "cnn", "attention"))
    assert table["ensemble"]["parameters"] == members + 3_012
    for name in ("lstm", "hybrid", "mixer"):
        assert table[name]["trainable"] == table[name]["parameters"]


def test_the_small_ones_are_small(table):
    """Networks for few rows have 5 to 80 thousand parameters."""
    for name in ("bin_tabl", "mixer"):
        assert 5_000 <= table[name]["parameters"] <= 80_000
    assert table["gru"]["parameters"] < table["lstm"]["parameters"]


def test_the_table_says_what_a_network_really_returns(table):
    """Runs each at its reference size and compares the shapes."""
    for name, settings, head in networks.references():
        with torch.no_grad():
            output = networks.build(settings, head=head).eval()(torch.zeros(2, *table[name]["input"][1:]))
        assert [-1, *output.shape[1:]] == table[name]["output"], name
    assert table["multi_filter_cnn:steps"]["output"] == [-1, 30, 1]
    assert table["temporal_lstm:sequence"]["output"] == [-1, 5, 1]
    assert table["hybrid"]["output"] == [-1, 6]


def test_every_network_has_a_size_for_tests():
    """The tests that go over all networks would else leave one out."""
    assert set(SMALL) == set(networks.names())
    assert set(MODES) == {reference.name for reference in networks.references()}


def test_the_page_tells_the_same_table(table):
    """Names, parameters and outputs of docs/model-architectures.md."""
    page = (ROOT / "docs" / "model-architectures.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([\w:]+)` \| ([\d,]+) \| B((?: x \d+)+) \|", page, re.MULTILINE)
    assert [(name, int(count.replace(",", "")), output.split(" x ")[1:]) for name, count, output in told] == [
        (row["name"], row["parameters"], [str(size) for size in row["output"][1:]]) for row in table.values()
    ]


def test_the_command_prints_every_network():
    """As text and as JSON."""
    printed = CliRunner().invoke(run.app, ["models", "networks", "--json"])
    assert printed.exit_code == 0, printed.output
    lines = printed.stdout.splitlines()
    rows = json.loads(lines[-1])["networks"]
    assert {
        "name": "cnn",
        "parameters": 130_081,
        "trainable": 130_081,
        "input": [-1, 30, 40],
        "output": [-1, 1],
    } in rows
    assert len(rows) == len(MODES) == len(lines) - 1
    assert any("1,145,959" in line for line in lines)


# --- what it can be told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "lstn"}, r"'lstn'.*did you mean `lstm`\?"),
        ({"name": "transformer_xl_large"}, r"expected one of attention, bin_tabl"),
        ({}, r"`name`; expected one of attention"),
        ({"name": "lstm", "hiden": 3}, r"`hiden`.*did you mean `hidden`\?"),
        ({"name": "lstm", "layers": 6}, r"<= 5.*network.layers|<= 5.*\$\.layers"),
        ({"name": "lstm", "hidden": "many"}, r"`str`.*hidden"),
        ({"name": "gru", "dropout": 1.0}, r"< 1.*dropout"),
        ({"name": "cnn", "hidden": 3}, r"unknown field `hidden`"),
        ({"name": "ensemble", "lstm": {"name": "lstm", "hiden": 3}}, r"`hiden`.*did you mean `hidden`\?"),
        ({"name": "ensemble", "lstm": {"hiden": 3}}, r"`hiden`.*did you mean `hidden`\?"),
        ({"name": "lstm", "attention": "aditive"}, r"'aditive'.*attention`; expected one of additive, none, self"),
        ({"name": "two_stage", "cnn": {"input_norm": "bin"}}, r"'bin'.*expected one of bilinear, instance, none"),
        ({"name": "stacked_ensemble", "members": [{"name": "lstm"}]}, r"length >= 2"),
        ({"name": "stacked_ensemble", "members": [{"name": "lstm"}, {"name": "grv"}]}, r"did you mean `gru`\?"),
        (
            {"name": "stacked_ensemble", "members": [{"name": "lstm"}, {"name": "ensemble"}]},
            r"'ensemble'.*; a member is one of attention, bin_tabl, .*temporal_lstm$",
        ),
        ({"name": "ensemble", "lstm": {"name": "gru"}}, r"'gru'.*; no gru can stand there$"),
        ({"name": "attention", "heads": 7}, r"width 128 and heads 7; expected a divisor"),
        ({"name": "lstm", "attention": "self", "hidden": 3, "heads": 4}, r"width 6 and heads 4"),
        ({"name": "hybrid", "width": 9, "heads": 3}, r"width 9 and 2 \(directions\)"),
        ({"name": "multi_filter_cnn", "kernels": [3, 4]}, r"kernels 4; expected odd sizes"),
        ({"name": "cnn_lstm", "kernel": 4}, r"kernel 4; expected an odd size"),
        ({"name": "bin_tabl", "rows": [5]}, r"2 features and 1 rows"),
        (
            {"name": "stacked_ensemble", "members": [{"name": "mlp"}, {"name": "temporal_lstm", "mode": "sequence"}]},
            r"several outputs a window",
        ),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(section, said):
    """The key or value that was seen, and what was probably meant."""
    with pytest.raises(ConfigError, match=said) as caught:
        networks.settings_of(section)
    assert "\n" not in str(caught.value)


def test_settings_come_back_as_they_were_told():
    """One network with a value of its own, the rest by default."""
    settings = networks.settings_of({"name": "lstm", "hidden": 32})
    assert settings == LstmSettings(hidden=32)
    assert settings.name == "lstm"


def test_what_cannot_be_built_is_refused():
    """An unknown name with its neighbour, windows too short, no columns, an unknown head, no horizon."""
    for call, said in (
        (lambda: networks.build("cnm"), r"unknown network 'cnm'.*did you mean `cnn`"),
        (lambda: networks.build("cnn", window=7), r"a window of 7 rows is too short.*8 or more"),
        (lambda: networks.build("two_stage", window=7), r"a window of 7 rows"),
        (lambda: networks.build("lstm", columns=0), r"0 columns"),
        (lambda: networks.build("lstm", head="ternary"), r"unknown head 'ternary'.*three_class"),
        (lambda: networks.build("lstm", head="multi_horizon", horizons=0), r"0 horizons"),
        (lambda: networks.build("lstm", hiden=3), r"did you mean `hidden`"),
        (lambda: networks.build(LstmSettings(), layers=9), r"<= 5"),
    ):
        with pytest.raises(ConfigError, match=said):
            call()
    assert networks.build("cnn", window=8)(torch.zeros(2, 8, 40)).shape == (2, 1)


@pytest.mark.parametrize(
    ("head", "horizons", "outputs"),
    [("regression", 1, 1), ("binary", 1, 1), ("three_class", 1, 3), ("multi_task", 1, 6), ("multi_horizon", 4, 4)],
)
def test_every_network_takes_every_head(head, horizons, outputs):
    """Output widths of all networks and modes."""
    x = torch.zeros(2, WINDOW, COLUMNS)
    for mode in MODES:
        with torch.no_grad():
            assert small(mode, head=head, horizons=horizons)(x).shape[-1] == outputs, mode


def test_every_network_takes_asset_ids_and_normalises_its_input():
    """With ids, forecasts of one window differ by asset; an id that is not in the table is the unknown one.

    With a norm, windows shifted and stretched by the column give nearly the same forecast; plain ones do not.
    """
    x = torch.randn(1, WINDOW, COLUMNS, generator=torch.Generator().manual_seed(0))
    asset = torch.tensor([0, 1, 2, 99, -1])
    for name in networks.names():
        network = small(name, assets=AssetSettings(count=2))
        with torch.no_grad():
            seen = network(x.expand(5, -1, -1), None, asset)
            torch.testing.assert_close(network(x), seen[:1], msg=name)
        torch.testing.assert_close(seen[3:], seen[:1].expand(2, -1), msg=name)
        assert torch.pdist(seen[:3]).min() > 1e-4, name
    for name in ("lstm", "cnn", "mlp", "attention"):
        for norm, alike in (("none", False), ("instance", True)):
            network = small(name, input_norm=norm)
            with torch.no_grad():
                assert torch.allclose(network(x), network(x + 50.0), atol=1e-3) == alike, (name, norm)


def test_the_same_seed_gives_the_same_weights():
    """And another seed others."""
    for name in ("lstm", "ensemble", "bin_tabl"):
        one, same, other = (small(name, seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert not all(torch.equal(one[key], other[key]) for key in one)
