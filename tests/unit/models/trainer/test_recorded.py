"""What a training run reads: files and catalogue alike, judged as a session judges."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue
from engine.data.importing.importer import import_file
from engine.data.importing.options import Options
from engine.data.parquet import read_events
from engine.data.parts import Source
from engine.errors import ConfigError, DataError
from engine.events import Quote
from engine.features import FeatureSpec
from models.labels import LabelSpec
from models.labels.book import smoothed
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Data, Features, load_settings
from models.windows.rows import in_memory

QUOTES = "binance_usdm_btcusdt_20240808_quotes.parquet"
TRADES = "binance_usdm_btcusdt_20240808_trades.parquet"
NAME = "BTC/USDT@binance_usdm"
SPEC = FeatureSpec("own", ("close",), 5)


@pytest.fixture(scope="module")
def folder(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 4,000 rows of a recorded day, with one crossed and one absurd quote in them."""
    made = tmp_path_factory.mktemp("day")
    for name in (QUOTES, TRADES):
        table = pq.read_table(market_data / "ticks" / name).slice(0, 4000)
        if name == QUOTES:
            bid = table["bid"].to_numpy().copy()
            bid[1000] += 500.0
            bid[2000] *= 0.5
            table = table.set_column(table.schema.get_field_index("bid"), "bid", pa.array(bid))
        pq.write_table(table, made / name)
    return made


def stored(folder: Path, root: Path) -> Catalogue:
    catalogue = Catalogue(root)
    for kind, name in (("quotes", QUOTES), ("trades", TRADES)):
        table = pq.read_table(folder / name)
        if kind == "trades":
            table = table.set_column(0, "ts_ns", table["ts_ns"]).drop_columns(["order_type"])
            index = table.schema.get_field_index("trade_id")
            table = table.set_column(index, "trade_id", table["trade_id"].cast(pa.string()))
        with catalogue.writer("binance_usdm", "BTCUSDT", kind, source=Source.of_file(folder / name)) as writer:
            writer.write(table)
    return catalogue


def test_the_catalogue_gives_the_events_that_the_files_give(folder: Path, tmp_path: Path) -> None:
    """A day written to a catalogue: same instrument, same events in the same order, other sources."""
    stored(folder, tmp_path)
    (files,) = recorded_markets(Data(files=(QUOTES, TRADES)), folder, SPEC)
    (catalogue,) = recorded_markets(Data(catalogue=str(tmp_path), instruments=(NAME,)), folder, SPEC)
    assert catalogue.instrument == files.instrument
    assert list(catalogue.events()) == list(files.events())
    assert [name for name, _ in files.sources] == [QUOTES, TRADES]
    assert all(name.startswith("venue=binance_usdm/") and len(sha) == 64 for name, sha in catalogue.sources)


def test_what_a_session_would_not_believe_is_no_training_row(folder: Path) -> None:
    """The crossed quote and the halved one are missing, everything else is there."""
    (market,) = recorded_markets(Data(files=(QUOTES, TRADES)), folder, SPEC)
    everything = list(read_events([folder / QUOTES, folder / TRADES]))
    given = list(market.events())
    quotes = [event for event in given if isinstance(event, Quote)]
    assert 0 < len(everything) - len(given) < 20
    assert all(quote.bid_px <= quote.ask_px for quote in quotes)
    assert np.ptp([quote.bid_px for quote in quotes]) < 200.0


def test_a_market_that_is_not_stored_is_named(tmp_path: Path) -> None:
    """One line with the command that lists what there is."""
    with pytest.raises(DataError, match=r"no market of ETH/USD@coinbase.*data list"):
        recorded_markets(Data(catalogue=str(tmp_path), instruments=("ETH/USD@coinbase",)), tmp_path, SPEC)


def test_a_name_of_several_markets_is_no_answer(folder: Path, tmp_path: Path) -> None:
    """The pair alone, stored from two venues: neither is taken silently."""
    for venue in ("binance_usdm", "binance_spot"):
        with Catalogue(tmp_path).writer(venue, "BTCUSDT", "quotes", source=Source(venue)) as writer:
            writer.write(pq.read_table(folder / QUOTES))
    with pytest.raises(DataError, match=r"BTC/USDT is stored from 2 markets.*BTC/USDT@binance_spot, BTC/USDT@bin"):
        recorded_markets(Data(catalogue=str(tmp_path), instruments=("BTC/USDT",)), tmp_path, SPEC)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{files: [a.parquet], catalogue: var/catalogue, instruments: [x]}", "one of the two"),
        ("{catalogue: var/catalogue}", "expected the instruments to train on"),
    ],
)
def test_two_places_at_once_are_refused(tmp_path: Path, data: str, said: str) -> None:
    """Each contradiction in one line."""
    path = tmp_path / "t.yaml"
    path.write_text(
        f"name: t\ntask: direction\nsummary: x\ndata: {data}\nfeatures: {{columns: core40}}\n"
        "label: {horizon_rows: 5, span_s_max: 9}\nscope: {asset_classes: [spot]}\n"
    )
    with pytest.raises(ConfigError, match=said):
        load_settings(path)


def test_columns_may_be_a_list_of_sets_and_columns() -> None:
    """As in the daemon's configuration."""
    from models.trainer.dataset import feature_spec

    spec = feature_spec(Features(columns=("technical13", "ret_5")))
    assert spec.columns[-1] == "ret_5"
    assert len(spec.columns) == 14
    assert feature_spec(Features(columns="quote40")).volume == "ticks"
    with pytest.raises(DataError, match="did you mean 'core40'"):
        feature_spec(Features(columns="cor40"))


def test_the_best_levels_alone_are_a_market_and_its_labels_are_whole_half_ticks(
    market_data: Path, tmp_path: Path
) -> None:
    """An hour of a future, ten levels after each change: rows read the levels, and where the mid goes is counted in
    half ticks of the file's own prices."""
    path = market_data / "lob" / "cme_esh4_book10_20231225.parquet"
    catalogue = Catalogue(tmp_path)
    import_file(catalogue, path, Options())
    (name,) = {part.instrument for part in catalogue.parts()}
    spec = FeatureSpec("book", ("book_imbalance_10", "imbalance", "ofi_5"), 10)
    (market,) = recorded_markets(Data(catalogue=str(tmp_path), instruments=(name,)), tmp_path, spec)
    assert (market.instrument.has_depth, market.instrument.has_trades) == (True, False)
    label = LabelSpec(kind="book_smoothed", horizon_rows=10, threshold=Decimal("0.00001"))
    table = in_memory([market], spec, {"mid": label})
    assert table.warm.sum() > 15_000
    quarters = np.rint(table.close_px * 8)
    assert (quarters == table.close_px * 8).all(), "mids of quarter ticks lie on eighths"
    wanted = smoothed(quarters.astype(np.int64), 10, Decimal("0.00001"))
    assert table.labels["mid"].values[:-10].tolist() == wanted.values[:-10].tolist()
    shares = np.bincount(wanted.values[:-10].astype(int)) / (len(table) - 10)
    assert shares.min() > 0.1
