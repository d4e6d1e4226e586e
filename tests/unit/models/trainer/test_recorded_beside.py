"""Training on columns that read other instruments and published series: the rows are those of a session."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.replay.feed import ReplayVenue
from engine.core import TradingCore
from engine.data.catalogue import Catalogue
from engine.data.parts import Source
from engine.data.published import read_observations, split_files
from engine.errors import ConfigError, DataError, KestrelError
from engine.events import MarketEvent, Observation
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling
from engine.features.rows import Rows, compute_rows
from engine.features.sets import expand
from engine.lanes import StrategySlot
from models.bundle import load_bundle
from models.catalogue import verify_bundle
from models.trainer.dataset import build, feature_spec
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Data, load_settings, settings_of
from tests.support.core import FixedAssembly, MemoryRecorder, OpenGate, Scripted
from tests.support.published import published_file
from tests.support.training import tiny_settings, train_bundle, write_settings

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
ROWS = 4_000
BTC, ETH, SPOT = "BTC/USDT@binance_usdm", "ETH/USDT@binance_usdm", "BTC/USDT@binance_spot"
PAIRS = ("spot_btcusdt", "usdm_ethusdt", "usdm_btcusdt")
FILES = tuple(f"binance_{pair}_20240808_{kind}.parquet" for pair in PAIRS for kind in ("quotes", "trades"))
SERIES = "series.parquet"
COLUMNS = expand(("close", "ret_1", f"cross_asset({ETH})", f"cross_venue({SPOT})", "published(CPI)"))
GAP = GapPolicy(flat_rows_max=3)
TICKS = FeatureSpec("ticks", ("imbalance", *COLUMNS), 5)
TRADES = FeatureSpec("trades", COLUMNS, 5, Sampling.tick_bar(10, "trade"))
BARS = FeatureSpec("bars", COLUMNS, 5, Sampling.time_bar(SECOND // 8), gap=GAP)
# The receiver's clock was 1.3 s behind that of the futures: their prices are of times that these bars wait for.
AHEAD = FeatureSpec(
    "ahead",
    expand(("close", f"cross_venue({BTC},{ETH})", "published(CPI)")),
    5,
    Sampling.time_bar(SECOND // 8),
    gap=GAP,
)


@pytest.fixture(scope="module")
def folder(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of three recorded markets, some of them damaged or out of order, and of a series that was revised
    while they were recorded."""
    made = tmp_path_factory.mktemp("beside")
    for name in FILES:
        table = pq.read_table(market_data / "ticks" / name).slice(0, ROWS)
        if "quotes" in name:
            bid, recv_ns = table["bid"].to_numpy().copy(), table["recv_ns"].to_numpy().copy()
            bid[1500] += 500.0
            bid[2500] *= 0.5
            recv_ns[3000] -= SECOND
            for column, values in (("bid", bid), ("recv_ns", recv_ns)):
                table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
        pq.write_table(table, made / name)
    start_ns = pq.read_table(made / FILES[4])["recv_ns"][0].as_py()
    rows = [
        (start_ns - 70 * DAY, start_ns - 90 * DAY, "CPI", 3.0),
        (start_ns - 9 * DAY, start_ns - 60 * DAY, "CPI", 3.5),
    ]
    rows += [(start_ns - 8 * DAY, start_ns - 60 * DAY, "CPI", float("nan")), (start_ns - DAY, start_ns, "GDP", 9.0)]
    rows += [(start_ns + i * SECOND, start_ns - 60 * DAY, "CPI", 3.5 + i) for i in range(1, 30)]
    published_file(made / SERIES, rows)
    return made


class Clock:
    def now_ns(self) -> int:
        return time.monotonic_ns()

    wall_ns = now_ns


class Kept(FeatureBuffer):
    """Keeps all rows it makes."""

    def watch(self) -> None:
        self.values, self.warmth = bytearray(), list[bool]()
        if self.spec.sampling.kind == "time_bar":
            self.on_bar = self.keep

    def keep(self) -> None:
        self.values.extend(self.window()[-1].tobytes())
        self.warmth.append(self.warm)

    def update(self, event: MarketEvent) -> bool:
        made = super().update(event)
        if made and self.on_bar is None:
            self.keep()
        return made


def rows_of_a_session(files: list[Path], spec: FeatureSpec, instrument: str) -> Kept:
    """What the buffer of the instrument makes while these files are replayed through a core, timers and all."""
    market, published = split_files(files)
    venue = ReplayVenue(
        market,
        lambda event: core.on_event(event) and None,
        clock=Clock(),
        published=read_observations(published),
        history_ns=400 * DAY,
    )
    buffer = Kept(spec, next(info.instrument for info in venue.files if info.instrument.id == instrument))
    buffer.watch()
    core = TradingCore(
        recorder=MemoryRecorder(),
        gate=OpenGate(),
        slots=[StrategySlot(Scripted(), instruments=frozenset({instrument}))],
        assembly=FixedAssembly(lambda: buffer, None),
        currency="USDT",
        id_prefix="t",
    )
    asyncio.run(venue.run(asyncio.Event()))
    return buffer


def trained_on(data: Data, folder: Path, spec: FeatureSpec) -> Rows:
    (market,) = recorded_markets(data, folder, spec)
    return compute_rows(spec, market.instrument, market.events())


def stored(folder: Path, root: Path, names: tuple[str, ...] = (*FILES, SERIES)) -> Data:
    """The files in a catalogue, and what a training on BTC says of it."""
    catalogue = Catalogue(root)
    for name in names:
        table = pq.read_table(folder / name)
        _, venue, symbol, _, kind = name.removesuffix(".parquet").split("_") if name != SERIES else "__xxx"
        about = (f"binance_{venue}", symbol.upper(), kind) if name != SERIES else ("fred", "ALL", "exogenous")
        with catalogue.writer(*about, source=Source.of_file(folder / name)) as writer:
            if kind == "trades":
                table = table.drop_columns(["order_type"])
                at = table.schema.get_field_index("trade_id")
                table = table.set_column(at, "trade_id", table["trade_id"].cast(pa.string()))
            writer.write(table)
    return Data(catalogue=str(root), instruments=(BTC,))


# --- the same rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "name"),
    [(TICKS, BTC), (TRADES, BTC), (BARS, BTC), (AHEAD, SPOT)],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_rows_of_a_training_are_those_of_a_replayed_session(folder: Path, spec: FeatureSpec, name: str) -> None:
    """Three markets and a series through a replay venue and a core, and through the trainer: equal in every bit.

    Timers still close bars of a market that has ended while others go on; nobody can know that such a row is to come.
    """
    files = (*FILES, SERIES)
    session = rows_of_a_session([folder / file for file in files], spec, name)
    rows = trained_on(Data(files=files), folder, spec)
    assert rows.values.tobytes() == bytes(session.values[: rows.values.nbytes])
    assert rows.warm.tolist() == session.warmth[: len(rows.warm)]
    assert len(session.warmth) - len(rows.warm) <= (GAP.flat_rows_max + 1 if spec.sampling.kind == "time_bar" else 0)
    assert rows.warm.sum() > 30
    assert min(len(np.unique(column[rows.warm])) for column in rows.values.T) > 3, "no column stood still"


def test_a_catalogue_gives_the_rows_that_the_files_give(folder: Path, tmp_path: Path) -> None:
    """The columns name what is read beside the instrument; all of it is among the sources."""
    data = stored(folder, tmp_path)
    rows = trained_on(data, folder, TICKS)
    assert rows.values.tobytes() == trained_on(Data(files=(*FILES, SERIES)), folder, TICKS).values.tobytes()
    (market,) = recorded_markets(data, folder, TICKS)
    kinds = sorted(name.split("/")[2] for name, _ in market.sources)
    assert kinds == ["kind=exogenous", *["kind=quotes"] * 3, *["kind=trades"] * 3]
    alone = FeatureSpec("alone", ("close",), 5)
    (market,) = recorded_markets(data, folder, alone)
    assert len(market.sources) == 2
    assert not any(isinstance(event, Observation) for event in market.events())


@pytest.mark.parametrize("order", [("BTC", "ETH"), ("ETH", "BTC")])
def test_a_candle_knows_the_close_of_another_that_ends_with_it(
    market_data: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    """Recorded candles of two markets, each beside the other: the other's return is that of the same five minutes."""
    own, other = (f"{base}/USDT@binance_spot" for base in order)
    closes, catalogue = {}, Catalogue(tmp_path)
    for base in order:
        table = pq.read_table(market_data / "bars" / f"crypto_5m_binance_{base.lower()}usdt_2024.parquet").slice(0, 500)
        closes[base] = table["close"].to_numpy()
        table = table.append_column("interval_ns", pa.array([300 * SECOND] * len(table), pa.int64()))
        with catalogue.writer("binance_spot", f"{base}USDT", "bars", 300 * SECOND, source=Source(base)) as writer:
            writer.write(table)
    spec = FeatureSpec("x", ("close", f"peer_return({other},1)"), 5, Sampling.time_bar(300 * SECOND), gap=GAP)
    rows = trained_on(Data(catalogue=str(tmp_path), instruments=(own,)), tmp_path, spec)
    np.testing.assert_array_equal(rows.values[:, 0], closes[order[0]].astype(np.float32))
    np.testing.assert_allclose(rows.values[1:, 1], np.diff(np.log(closes[order[1]])), rtol=1e-4, atol=1e-8)


def test_a_slice_of_time_knows_what_was_published_before_it(folder: Path) -> None:
    """From five seconds after the start on: the first row has the value that was published before it."""
    data = Data(files=(*FILES, SERIES))
    settings = tiny_settings(data={"files": list(data.files), "start": "2024-08-08T23:54:20Z"})
    settings |= {"features": {"columns": list(TICKS.columns), "window": 5}}
    settings |= {"label": {"horizon_rows": 20, "span_s_max": 60}, "split": {"train": 0.45, "validation": 0.3}}
    loaded, _ = load_settings(write_settings(folder, settings))
    rows = build(loaded, feature_spec(loaded.features), folder)
    assert rows.ts_ns[0] >= 1_723_161_260 * SECOND
    names = list(TICKS.columns)
    assert rows.values[0, names.index("exogenous(CPI)")] == 7.5
    assert len(rows.train) > 100
    assert [instrument.id for instrument in rows.instruments] == [BTC]
    assert [name for name, _ in rows.sources] == [*FILES, SERIES]


def test_a_bundle_is_trained_and_opened_on_such_columns(folder: Path, tmp_path: Path) -> None:
    """A whole run on ratios, without a close: the golden tape passes; manifest and card say what is read."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    pytest.importorskip("onnxscript", reason="the trainer is not installed")
    columns = ["imbalance", *COLUMNS[1:]]
    changes = {"data": {"files": [*FILES, SERIES]}, "features": {"columns": columns, "window": 16}}
    changes |= {"scope": {"asset_classes": ["perpetual"]}, "normaliser": {"kind": "robust"}}
    changes |= {"label": {"horizon_rows": 20, "span_s_max": 60}, "split": {"train": 0.45, "validation": 0.3}}
    path = train_bundle(tmp_path / "run", folder, **changes)
    bundle = load_bundle(path)
    assert verify_bundle(path)["golden_predictions"] > 0
    assert bundle.manifest.training.rows["train"] > 100
    assert (bundle.spec.peers, bundle.spec.series) == ((ETH, SPOT), ("CPI",))
    assert [file.name for file in bundle.manifest.training.data] == sorted([*FILES, SERIES])
    card = (bundle.path / "README.md").read_text()
    assert f"; reads the prices of {ETH}, {SPOT}; reads the published series CPI |" in card


# --- the future -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [TICKS, BARS], ids=lambda spec: spec.name)
def test_what_others_cost_and_publish_later_changes_no_row_before(
    folder: Path, tmp_path: Path, spec: FeatureSpec
) -> None:
    """From a moment on others' prices and all values are other ones: rows up to then are as before, later ones not."""
    moment_ns = pq.read_table(folder / FILES[4])["recv_ns"][3000].as_py()
    for name in FILES:
        table = pq.read_table(folder / name)
        for column in () if name in FILES[4:] else {"bid", "ask", "price"} & set(table.schema.names):
            late = table["recv_ns"].to_numpy() > moment_ns
            values = np.where(late, 1.01, 1.0) * table[column].to_numpy()
            table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
        pq.write_table(table, tmp_path / name)
    told = pq.read_table(folder / SERIES).to_pylist()
    poisoned = [(*list(row.values())[:3], row["value"] + 100.0 * (row["ts_ns"] > moment_ns)) for row in told]
    published_file(tmp_path / SERIES, poisoned)
    clean, other = (trained_on(Data(files=(*FILES, SERIES)), place, spec) for place in (folder, tmp_path))
    before = clean.ts_recv_ns <= moment_ns
    assert 0 < before.sum() < len(before)
    assert clean.values[before].tobytes() == other.values[before].tobytes()
    assert clean.warm[before].any()
    changed = (clean.values[~before] != other.values[~before]) & np.isfinite(clean.values[~before])
    names = list(spec.columns)
    for column in (f"peer_return({ETH},5)", f"basis_bps({SPOT})", "exogenous(CPI)"):
        assert changed[:, names.index(column)].any(), column


# --- what is not there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ((*FILES[2:], SERIES), DataError, f"read the price of {SPOT}, and no file of data.files has it"),
        (FILES, DataError, "read the published series CPI, and no file of data.files has it"),
        ((*FILES[1:], SERIES), DataError, f"price of {SPOT}, of which there are trades alone"),
        ((*FILES[:4], SERIES), ConfigError, "whose prices the columns read"),
        ((SERIES,), DataError, "no recorded file was given"),
    ],
    ids=["peer", "series", "quotes of a peer", "own", "market"],
)
def test_a_file_that_is_missing_is_named_and_nothing_is_written(
    folder: Path, tmp_path: Path, files: tuple[str, ...], kind: type[KestrelError], said: str
) -> None:
    """One line before a row is made, through the whole trainer; no folder of a run."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    from models.trainer.run import run_training

    settings = tiny_settings(data={"files": list(files)}, features={"columns": list(TICKS.columns), "window": 8})
    with pytest.raises(kind) as caught:
        run_training(settings_of(settings), folder=tmp_path / "run", data=folder)
    assert said in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_a_catalogue_does_not_have_is_named(folder: Path, tmp_path: Path) -> None:
    """A market, a series, quotes of another market, and an instrument that the columns read already."""
    data = stored(folder, tmp_path, FILES[1:])
    with pytest.raises(DataError, match=r"of which there are trades alone.*its quotes.*add them"):
        recorded_markets(data, folder, TICKS)
    with pytest.raises(DataError, match=r"no market of LTC/USDT@binance_usdm, whose price the columns read.*data list"):
        recorded_markets(data, folder, FeatureSpec("x", ("close", "basis_bps(LTC/USDT@binance_usdm)"), 5))
    with pytest.raises(DataError, match=r"published series CPI, PMI, and .* does not have it.*data import"):
        recorded_markets(data, folder, FeatureSpec("x", ("close", "exogenous(CPI)", "exogenous(PMI)"), 5))
    with pytest.raises(ConfigError, match=r"data.instruments has BTC/USDT@binance_usdm, whose price.*leave it out"):
        recorded_markets(data, folder, FeatureSpec("x", ("close", f"basis_bps({BTC})"), 5))


def test_a_series_that_is_published_after_the_data_ends_is_named(folder: Path, tmp_path: Path) -> None:
    """No row has a value: the refusal says of which column."""
    for name in FILES:
        (tmp_path / name).symlink_to(folder / name)
    published_file(tmp_path / SERIES, [(1_800_000_000 * SECOND, 0, "CPI", 1.0)])
    settings = tiny_settings(data={"files": [*FILES, SERIES]}, features={"columns": list(TICKS.columns), "window": 5})
    loaded, _ = load_settings(write_settings(tmp_path, settings))
    with pytest.raises(DataError, match=r"0 labelled rows, no value for exogenous\(CPI\), .* in any of 399\d rows"):
        build(loaded, feature_spec(loaded.features), tmp_path)
