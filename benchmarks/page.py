"""The table of a run, on the terminal and as ``docs/benchmarks.md``.

Owns the words around the figures; the figures come from ``suite``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.figures import CALM, Reading
from benchmarks.rig import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"

PEER = {
    "in_process_no_model": "57 / 165 us",
    "in_process_cnn": "57 / 165 us, no model",
    "cost_per_order": "180-640 us",
}
"""The leading open engine's own figures: p50 / p99 of its live engines from tick to order hand-off, without model,
socket or signature; and what an order costs in its back-test."""

PACE_KEPT = 0.98
"""Below this share of the pace asked, a row says both."""

WHAT = {
    "in_process_cnn": "frame in memory to order bytes, CNN inline, an order on every tick, 1,000 ticks/s, on the loop "
    "with shadow ticks",
    "in_process_cnn_polling": "the same with `engine.busy_poll`",
    "in_process_cnn_hot": "the same flat out: no waiting between ticks, caches hot",
    "in_process_no_model": "1,000 ticks/s without a model (features run), on the loop with shadow ticks",
    "in_process_no_model_polling": "the same with `engine.busy_poll`",
    "in_process_no_model_hot": "the same flat out: caches hot",
    "throughput_cnn": "ticks a second on one core, CNN on each (p50: us a tick)",
    "wire_picows": "loopback, ticker frame out to order bytes in, picows, CNN, 1,000 ticks/s; exchange on the other "
    "core; of the ticks that made an order",
    "wire_websockets": "the same over websockets, the default library",
    "wire_picows_100": "the same over picows at 100 ticks/s, shadow ticks between",
    "swap": "from when a tick is due to its order's bytes, 1,000 ticks/s, CNN inline, while models are promoted one "
    "after another: checked, opened and swapped; value: p99 against that of the time between them",
    "stage_decode": "from the receive stamp to the bus; this and the next: the probe's stages of `in_process_cnn`",
    "stage_model": "the CNN in a tick (by itself: `model_cnn`)",
    "stage_tick_to_order": "from the receive stamp to the end of the write",
    "frame_websockets": "a ticker out of its WebSocket frame by `websockets`, tight loop (3.4 us in the design)",
    "frame_websockets_deflated": "the same, compressed by the peer as the built-in exchange does",
    "decode_json": "a ticker frame into typed structs, tight loop",
    "decode_frame": "`receive_frame` on it: sequence rule, time, `Quote`; tight loop",
    "decode_frame_hot": "the same call in a tick, flat out: model and path have had the caches between",
    "decode_frame_paced": "the same call in a tick at 1,000 ticks/s: sleeping between",
    "binance_book_ticker": "Binance's best prices to a `Quote`, tight loop",
    "binance_delta": "a change of three levels of its book to a `BookDelta`",
    "binance_delta_applied": "the same, and into the core's book",
    "book_delta_apply": "the core's book alone",
    "ccxt_book_ticker": "the same best prices through the library for many exchanges, in the same run",
    "ccxt_delta_applied": "the same changes through it",
    "streams_picows": "100 streams of 50 messages a second, a connection each, picows: of one core, parser included",
    "streams_picows_combined": "the same 100 streams on one connection",
    "streams_websockets": "a connection each, over websockets",
    "streams_websockets_combined": "and on one",
    "order_wire": "an order to the socket: encoded, with a token signed ahead (ES256), written",
    "order_wire_signed": "the same with a signature made for this order, as when the pool of tokens is stale",
    "model_cnn": "one prediction of the demo CNN, tight loop (30 us in the design)",
    "model_cnn_paced": "the same each millisecond, sleeping between",
    "worker_ticks": "from when a tick is due to its order's bytes, 5,000 ticks/s, a model of 500 us on the worker; "
    "value: p99 against the same without a model",
    "worker_ticks_no_model": "the same without a model, block by block in turns",
    "worker_batch_of_8_slow": "a window of that model in a batch of 8; `worker_batch_of_8_*` likewise",
    "worker_interpreter": "longest wait for the interpreter of a thread beside runs of the runtime",
    "serving_cnn": "the reference CNN, batch 1, ONNX Runtime: copy in, graph, value out; `serving_*` likewise",
    "serving_cnn_openvino": "the same with OpenVINO, in turns; `serving_*_openvino` likewise",
    "serving_step_gru": "one row through a GRU's step graph, state carried",
    "serving_cnn_256": "the CNN for 256 instruments at once",
    "network_lstm": "a training step of batch 32 at the reference size, one thread; `network_*` likewise",
    "network_lstm_plain": "the same layers in plain torch, without this project's switches; `network_*_plain` likewise",
    "cost_per_order": "tick, order, answer and fill; last orders against first",
    "features_core40": "one update of the 40-column window",
    "features_quote40": "the same for quotes alone",
    "features_technical40": "the same for `technical40`: 34 indicators and six columns of a candle",
    "features_extended": "the same for `extended`: 102 columns, the spectral ones among them",
    "features_extended_state": "record and window of an instrument",
    "candles_update": "one update of `technical40` by a finished candle",
    "candles_loop": "a row of it within the loop over a recording",
    "candles_million": "a million candles to rows, arrays in and out",
    "candles_state": "record and window of an instrument",
    "candles_first_start": "the kernel compiled, in a new process without a cache",
    "candles_later_start": "imports and kernel in a new process, compiled before",
    "candles_recomputed": "the common way: pandas and TA-Lib over the last 500 candles at each candle",
    "candles_ratio": "updates in the time of one such recomputation",
    "consolidated_update": "a quote of one of five venues into the consolidated one",
    "consolidated_wild": "the same while one venue is wild: the votes are counted anew each time",
    "consolidated_asked": "price, confidence and attribution of five venues, when a strategy asks",
    "quality_quote": "the quality gate's judgement of a quote, by one call",
    "quality_trade": "of a trade with an id",
    "quality_file": "rows a second of a recorded file, by the same judge",
    "start_up_kept": "what a killed session left, read back after a million records",
    "start_up_not_kept": "the same where no state was kept since its start",
    "memory_growth": "resident memory, 1 M ticks against 100,000",
    "memory_50_instruments": "the daemon with 50 instruments",
    "memory_reconnects_picows": "resident memory over connections that the venue drops: those of three hours, at the "
    "most that a feed may make, against those of one",
    "memory_reconnects_websockets": "the same over websockets",
    "windows_memory": "peak memory of a process that makes a million windows from candles, stores and draws them all",
    "windows_write": "the first half of it: a million candles to rows and labels on disk",
    "windows_batch": "a batch of 32 windows of 60 x 40 out of the stored million, at random",
    "windows_share": "of a training step of the reference LSTM (30 rows, batch 32), what data takes",
    "journal_append_interval": "an append to the journal; sync mode `interval`, the default",
    "journal_append_never": "the same, sync mode `never`",
    "journal_append_always": "the same, sync mode `always`",
    "journal_append_paced": "mode `interval` at 2,000 records a second",
    "risk_entry": "risk's review of an entry, the required limits",
    "risk_entry_every_control": "the same with every control in use that a configuration may add",
    "risk_entry_later": "and with a hundred orders before it, so that ratios are asked for",
    "risk_entry_256_instruments": "every control, in a session with 256 instruments",
    "risk_entry_five_open": "the same with five orders open",
    "risk_exit": "of an exit",
    "daemon_default": "the daemon as `make paper` starts it: its own tick-to-order",
    "daemon_default_first_prediction": "from the start of the process to the first prediction, caches warm",
    "daemon_default_first_fill": "and to the first fill",
    "daemon_default_decode": "from the receive stamp to the bus; this and the next: its stages",
    "daemon_default_apart": "the same daemon with the exchange on a core of its own",
    "daemon_default_apart_decode": "its stages",
    "codec_ticker_to_quote": "a venue's ticker message to an event",
    "codec_encode_quote": "an event to a journal record",
    "codec_decode_quote": "and back",
    "codec_order_request": "an order to its HTTP request, token made ahead",
}


def figure(reading: Reading) -> tuple[str, str, str]:
    """p50, p99 and rate (or the value) as text."""
    if reading.error:
        return "-", "-", "failed"
    p50 = "" if reading.p50 is None else f"{reading.p50:.2f}"
    p99 = "" if reading.p99 is None else f"{reading.p99:.2f}"
    if reading.value is not None:
        return p50, p99, f"{reading.value:.2f} {reading.unit}"
    return p50, p99, _rate(reading)


def _rate(reading: Reading) -> str:
    """A lane with a pace says when it did not keep it."""
    if reading.per_second is None:
        return ""
    asked = reading.asked_per_second
    kept = asked is None or reading.per_second >= PACE_KEPT * asked
    return f"{reading.per_second:,.0f}/s" + ("" if kept else f" of {asked:,.0f}/s asked")


def samples(reading: Reading) -> str:
    """How many the percentiles are of, and how many there could have been."""
    if not reading.n:
        return ""
    return f"{reading.n:,} of {reading.sent:,}" if reading.sent else f"{reading.n:,}"


def missing(reading: Reading) -> str:
    """Why ticks made no order, and what it does to the percentiles; empty when each made one."""
    lost = reading.sent - reading.n
    if lost <= 0:
        return ""
    causes = ", ".join(f"{count:,} {why}" for why, count in reading.missing.items())
    all_of_them = reading.p50_of_sent
    if all_of_them is None:
        bound = ""
    elif all_of_them == float("inf"):
        bound = ", counted as slower than all others, put the median of the ticks sent beyond what was measured"
    else:
        bound = f", counted as slower than all others, put the median of the ticks sent at {all_of_them:.1f} us"
    return (
        f"of {reading.sent:,} ticks sent, {reading.n:,} made an order and the percentiles are of those {reading.n:,}, "
        f"which flatters: the {lost:,} missing ({causes}) fell on slow moments{'; they' + bound[1:] if bound else ''}"
    )


def target(reading: Reading) -> str:
    return ", ".join(str(one) for one in reading.targets)


def verdict(reading: Reading) -> str:
    """The verdict of the medians, and whether the machine's quietest moment says otherwise."""
    return f"{reading.verdict} (p50 met at best)" if _only_noise(reading) else reading.verdict


def _only_noise(reading: Reading) -> bool:
    return reading.verdict == "missed" and reading.met_at_best


def about(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']} "
        f"({machine['python_build']}), commit {machine['commit']}; {machine['scheduling']} "
        f"scheduling, load {machine['load_1m']}, an empty loop {machine['loop_ns']} ns a pass"
    )


def table(readings: Sequence[Reading], machine: dict[str, Any], *, quick: bool) -> str:
    """Plain text, for a terminal or a log."""
    lines = [about(machine), "quick run: few repetitions, take no figure from it" if quick else "", ""]
    lines.append(
        f"{'case':<34}{'p50 us':>10}{'best us':>10}{'p99 us':>10}{'samples':>18}{'rate, value':>26}  {'target':<26}"
        f"{'verdict':<9}peer"
    )
    for reading in readings:
        p50, p99, rate = figure(reading)
        peer = PEER.get(reading.name, "")
        best = "" if reading.best is None else f"{reading.best:.2f}"
        row = f"{reading.name:<34}{p50:>10}{best:>10}{p99:>10}{samples(reading):>18}{rate:>26}  {target(reading):<26}"
        lines.append(f"{row}{reading.verdict:<9}{peer}".rstrip())
        if text := _note(reading):
            lines.append(f"    {text}")
    for reading in readings:
        if reading.profile:
            lines += ["", f"{reading.name} missed its target; where the time goes:"]
            lines += [f"    {line}" for line in reading.profile]
    return "\n".join(line for line in lines if line is not None)


def write(readings: Sequence[Reading], machine: dict[str, Any]) -> None:
    """Rewrite ``docs/benchmarks.md`` from a full run."""
    PAGE.write_text(render(readings, machine, datetime.now(UTC)), encoding="utf-8")


def render(readings: Sequence[Reading], machine: dict[str, Any], when: datetime) -> str:
    """The page as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        f"Measured {when:%Y-%m-%d} on {about(machine)}.",
        "Libraries: " + ", ".join(f"{name} {version}" for name, version in machine["libraries"].items()) + ".",
        "",
        "This page is written by `python run.py bench --write`; do not edit the figures by hand. `make bench` runs the",
        "same cases without writing, `python run.py bench CASE... --quick` some of them shortly.",
        "",
        "| case | what | p50 us | best us | p99 us | samples | rate, value | target | verdict | leading open engine |",
        "|---|---|---:|---:|---:|---:|---:|---|---|---|",
    ]
    for reading in readings:
        p50, p99, rate = figure(reading)
        spread = "" if reading.spread is None else f" ({reading.spread[0]:.1f}-{reading.spread[1]:.1f})"
        best = "" if reading.best is None else f"{reading.best:.2f}"
        lines.append(
            f"| `{reading.name}` | {WHAT.get(reading.name, '')} | {p50}{spread} | {best} | {p99} "
            f"| {samples(reading)} | {rate} | {target(reading)} | {verdict(reading)} | {PEER.get(reading.name, '')} |"
        )
    lines += ["", *_notes(readings), "", *METHOD]
    return "\n".join(lines) + "\n"


def _notes(readings: Sequence[Reading]) -> list[str]:
    lines = [f"- `{one.name}`: {text}" for one in readings if (text := _note(one))]
    missed = [one for one in readings if one.verdict == "missed"]
    if missed:
        names = ", ".join(f"`{one.name}`" for one in missed)
        lines += ["", "## Missed targets", "", f"{len(missed)} of {_judged(readings)} targets are missed: {names}."]
        calm = ", ".join(f"`{one.name}`" for one in missed if _only_noise(one))
        lines += (
            [f"Where the machine was least disturbed the median of these met its target: {calm}.", ""] if calm else [""]
        )
    else:
        lines += ["", "No target was missed.", ""]
    for reading in missed:
        lines += [f"`{reading.name}`, target {target(reading)}. Where the time goes:", "", "```"]
        lines += [*(reading.profile or (reading.note or "no profile",)), "```", ""]
    return lines


def _note(reading: Reading) -> str:
    return reading.error or "; ".join(text for text in (missing(reading), reading.note) if text)


def _judged(readings: Sequence[Reading]) -> int:
    return sum(1 for one in readings if one.targets)


METHOD = [
    "## How it is measured",
    "",
    "- A figure is the median over the rounds of a case; in brackets the lowest and highest median of a round.",
    "  Rounds of the cases are interleaved. Warm-up is left out, and `gc.freeze()` follows it, as in the daemon.",
    f"  `best` is the lowest median of {CALM} consecutive samples: on a shared machine, where neighbours let the",
    "  same code take twice as long for seconds at a time, it is nearest to what the code itself costs. Verdicts",
    "  are of the medians.",
    "- The path is the daemon's own: frame decoder, bus, journal on disk (`fsync: interval`), probe, book,",
    "  features, ONNX Runtime with the demo CNN, risk gate with all checks, order record, gateway with a token made",
    "  ahead. Two things stand in: a strategy that orders on every tick, and the account, which fills each accepted",
    "  order; its answers pass the connector's own decoders and are not timed.",
    "- In process: from before the receive stamp to the request's bytes at a writer that only keeps them. The lanes",
    "  at 1,000 ticks/s run on the daemon's event loop with the daemon's shadow ticks (each millisecond, skipped",
    "  after a real event, which at this pace is nearly always). Another process writes a byte when a tick is due;",
    "  between ticks the process sleeps, and it wakes with cool caches as in production. The `_polling` rows have a",
    "  loop that never sleeps, the `_hot` rows the same ticks one after the other: the differences are what",
    "  sleeping, waking and waiting cost.",
    "- Where a lane did not keep the pace it asked for, its rate says both. In process, beats fell together: one that",
    "  comes while a tick, its answer and its fill are handled waits, and those that wait are one.",
    "- Wire to wire: the stopwatch is the other process's, from before the frame is handed to the kernel to the",
    "  moment a complete order request was read. That process is pinned to the last core and the path to the",
    "  others, which a venue on another machine comes nearer to than one that takes turns with us. It polls while",
    "  it waits, so its own waking up is not counted. Shadow ticks are on; at 1,000 ticks/s real ticks leave them",
    "  little room.",
    "- Not every tick on the wire makes an order: quotes are conflated after 5 ms of lag, and a tick that comes",
    "  before the last order was answered makes none (an order a millisecond, its answer and its fill nearly fill",
    "  the millisecond). `samples` says how many did; percentiles and `best` are of those alone and flatter,",
    "  because a slow moment loses its ticks. The notes give the count of each cause and the median with every",
    "  missing tick counted as slower than all others; a lane that misses more than 1 in 100 meets no target. The",
    "  exchange waits up to 2 ms for an order before the next tick, so each missing one also takes from the pace.",
    "- `wire_picows` and `wire_websockets` run next to each other, in alternating order. Where a page shows",
    "  `websockets` ahead it shows the machine, or which ticks were lost: in eight alternating rounds its median",
    "  was 1.2 times that of picows (723 against 595 us), while single rounds of each ranged over up to a factor of",
    "  two.",
    "- The `decode` stage runs from the receive stamp to the bus. The rows `decode_*` take it apart: the JSON is",
    "  the least of it, the protocol's rules and the event come to three times that, and the same call costs twice",
    "  as much again in a tick, where model and path have had the caches, and twice that when the process slept",
    "  before.",
    "- `cost_per_order` is the whole cycle: tick, order, answer, fill, no model.",
    "- Memory is what the kernel calls resident, mapped journal included, in MB of 10^6 bytes.",
    "- The leading open engine's figures are its own, from its live engines (tick to order hand-off, without model,",
    "  socket or signature) and its back-test (per order); they were taken on other machines and say what order of",
    "  magnitude is usual, no more.",
    "",
    "## The default stack",
    "",
    "`daemon_default` is the daemon as `make paper` starts it, and its tick-to-order is a multiple of the lanes'.",
    "Why, from marks of single events in that daemon, one thing changed at a time:",
    "",
    "- A short session orders a handful of times: p50 is of those few and p99 is the slowest. The rows of its",
    "  stages up to the model are of hundreds of events and say more.",
    "- The write wakes the exchange; where the kernel wakes it on our core it may run first, and our stamp comes",
    "  after its turn, 1-2 ms instead of 0.1-0.15. The daemon therefore starts it as a batch process",
    "  (`engine/runtime/child.py`): 0.88-0.96 ms tick to order instead of 2.2-3.1, in alternating sessions. What is",
    "  left of that shows against `daemon_default_apart`, where it has a core of its own. The bytes have left by",
    "  then, and no venue elsewhere takes our core.",
    "- `daemon_default_decode` starts at one stamp for a read, and more than half of the reads hold several",
    "  messages. All frames are taken apart and decoded before the first event goes to the bus: 60 us for one frame",
    "  in `websockets` on cold caches and 20 to 30 more for inflating it (tight loop: `frame_websockets`,",
    "  `_deflated`), then about 100 for the protocol. An event that is not the first of its read also waits for",
    "  what the earlier ones set off, a prediction included: 0.5-0.6 ms in the median against 0.19.",
    "- At fifty reads a second everything starts on cold caches. Shadow ticks that predict bring the model from",
    "  about 320 us to 170; strategy, risk and order record run a few times a session and cost two to six times",
    "  what the lanes with an order on every tick show.",
    "",
    *(ROOT / "benchmarks" / "serving.md").read_text(encoding="utf-8").splitlines(),
    "",
    "## Limits",
    "",
    "- p99 on a shared machine measures the machine too. The empty-loop figure at the top tells how fast it was.",
]
