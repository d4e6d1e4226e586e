"""The networks in plain torch: the same layers and sizes put together by hand, none of this project's switches.

Owns these counterparts, which a training step is measured beside.  No masks, no front, no mixes of settings; what the
network at its reference size computes, and with as many parameters, which a test holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

from models import networks
from models.networks.heads import output_count

WINDOW, COLUMNS = networks.WINDOW, networks.COLUMNS
_DROPOUT = 0.2


class Chain(nn.Module):
    """Named layers, and how they follow each other."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


class Frozen(nn.ModuleList):
    """Members that compute and neither learn nor change."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__(members)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        del mode
        return super().train(False)

    def said(self, x: Tensor) -> Tensor:
        """``(B, members)``."""
        return torch.cat([member(x) for member in self], dim=1)


def head(width: int, dense: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, dense), nn.ReLU(), nn.BatchNorm1d(dense), nn.Dropout(_DROPOUT), nn.Linear(dense, 1)
    )


def dense(width: int, sizes: Sequence[int], dropout: float = _DROPOUT) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 1))


def recurrent(make: Callable[..., nn.Module], hidden: int = 128, width: int = 128) -> Chain:
    rows = make(COLUMNS, hidden, 2, batch_first=True, bidirectional=True, dropout=_DROPOUT)
    return Chain(lambda n, x: n.end(n.rows(x)[0][:, -1]), rows=rows, end=head(2 * hidden, width))


def attention() -> Chain:
    blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 8, 512, _DROPOUT, batch_first=True), 2)
    return Chain(
        lambda n, x: n.end(n.blocks(n.embed(x)).mean(dim=1)),
        embed=nn.Linear(COLUMNS, 128),
        blocks=blocks,
        end=head(128, 64),
    )


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *dense(WINDOW * COLUMNS, (128, 64, 32)))


def convolution(columns: int, filters: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv1d(columns, filters, kernel, padding=padding, dilation=dilation), nn.BatchNorm1d(filters), nn.ReLU()
    )


def cnn_features(count: int = 3) -> nn.Sequential:
    columns, layers = COLUMNS, []
    for filters, kernel in ((32, 3), (64, 5), (128, 7)):
        layers.append(nn.Sequential(*convolution(columns, filters, kernel), nn.MaxPool1d(2)))
        columns = filters
    return nn.Sequential(*layers[:count])


def cnn() -> Chain:
    end = dense(128 * (WINDOW // 8), (128, 64))
    return Chain(lambda n, x: n.end(n.maps(x.transpose(1, 2)).flatten(1)), maps=cnn_features(), end=end)


def cnn_lstm() -> Chain:
    front = nn.Sequential(
        *convolution(COLUMNS, 32, 3), nn.Dropout(_DROPOUT), *convolution(32, 64, 3), nn.Dropout(_DROPOUT)
    )
    return Chain(
        lambda n, x: n.end(n.rows(n.front(x.transpose(1, 2)).transpose(1, 2))[0][:, -1]),
        front=front,
        rows=nn.LSTM(64, 64, 2, batch_first=True, dropout=_DROPOUT),
        end=head(64, 64),
    )


class BilinearNorm(nn.Module):
    """BiN: z-scores along both axes, gated."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(COLUMNS)), nn.Parameter(torch.zeros(COLUMNS))
        self.row_scale, self.row_shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))
        self.gates = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        over_time = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True, correction=0) + 1e-6)
        over_columns = (x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True, correction=0) + 1e-6)
        first, second = F.softplus(self.gates)
        return first * (over_time * self.scale + self.shift) + second * (over_columns * self.row_scale + self.row_shift)


class Bilinear(nn.Module):
    def __init__(self, features: int, rows: int, features_out: int, rows_out: int) -> None:
        super().__init__()
        self.left, self.right = _matrix(features_out, features), _matrix(rows, rows_out)
        self.bias = nn.Parameter(torch.zeros(features_out, rows_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(F.relu(self.left @ x @ self.right + self.bias), _DROPOUT, self.training)


class TemporalAttention(nn.Module):
    """TABL, with the diagonal of its weights fixed."""

    eye: Tensor

    def __init__(self, features: int, rows: int) -> None:
        super().__init__()
        self.left, self.right, self.mix = _matrix(1, features), _matrix(rows, 1), nn.Parameter(torch.zeros(rows, rows))
        self.gate, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(1, 1))
        self.register_buffer("eye", torch.eye(rows))

    def forward(self, x: Tensor) -> Tensor:
        y = self.left @ x
        weights = torch.softmax(y @ (self.mix * (1 - self.eye) + self.eye / y.shape[2]), dim=2)
        gate = torch.sigmoid(self.gate)
        return ((gate * y * weights + (1 - gate) * y) @ self.right + self.bias).squeeze(2)


def bin_tabl() -> Chain:
    layers = nn.Sequential(Bilinear(COLUMNS, WINDOW, 60, 10), Bilinear(60, 10, 120, 5), TemporalAttention(120, 5))
    return Chain(lambda n, x: n.layers(n.norm(x).transpose(1, 2)), norm=BilinearNorm(), layers=layers)


class MixerBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.time = nn.Sequential(nn.Linear(WINDOW, WINDOW), nn.ReLU(), nn.Dropout(_DROPOUT))
        layers = (nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(2 * width, width))
        self.features = nn.Sequential(*layers, nn.Dropout(_DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.time(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.features(self.second(x))


def mixer() -> Chain:
    return Chain(
        lambda n, x: n.head(n.rows(n.blocks(n.norm(x)).transpose(1, 2)).squeeze(2)),
        norm=BilinearNorm(),
        blocks=nn.Sequential(nn.Linear(COLUMNS, 64), MixerBlock(64), MixerBlock(64), nn.LayerNorm(64)),
        rows=nn.Linear(WINDOW, 1),
        head=nn.Linear(64, 1),
    )


def image_convolution(channels: int, filters: int, rows: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ZeroPad2d((0, 0, rows // 2, (rows - 1) // 2)),
        nn.Conv2d(channels, filters, (rows, 1)),
        nn.BatchNorm2d(filters),
        nn.LeakyReLU(0.01),
    )


def deep_lob() -> Chain:
    def block(channels: int, columns: int) -> nn.Sequential:
        condensed = nn.Conv2d(channels, 32, (1, columns), stride=(1, columns))
        rows = (image_convolution(32, 32, 4), image_convolution(32, 32, 4))
        return nn.Sequential(condensed, nn.BatchNorm2d(32), nn.LeakyReLU(0.01), *rows)

    def branch(rows: int) -> nn.Sequential:
        return nn.Sequential(image_convolution(32, 64, 1), image_convolution(64, 64, rows))

    def forward(n: Any, x: Tensor) -> Tensor:
        x = n.blocks(x.unsqueeze(1))  # (B, 32, W, 1)
        x = torch.cat([n.short(x), n.long(x), n.pooled(x)], dim=1).squeeze(3).transpose(1, 2)
        return n.head(n.rows(F.dropout(x, _DROPOUT, n.training))[0][:, -1])

    return Chain(
        forward,
        blocks=nn.Sequential(block(1, 2), block(32, 2), block(32, COLUMNS // 4)),
        short=branch(3),
        long=branch(5),
        pooled=nn.Sequential(nn.MaxPool2d((3, 1), stride=1, padding=(1, 0)), image_convolution(32, 64, 1)),
        rows=nn.LSTM(192, 64, batch_first=True),
        head=nn.Linear(64, 1),
    )


class RowAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=_DROPOUT, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        told = self.attention(x, read, read, need_weights=False)[0]
        return self.norm(x + F.dropout(told, _DROPOUT, self.training))


def multi_filter_cnn() -> Chain:
    def forward(n: Any, x: Tensor) -> Tensor:
        y = torch.cat([filters(x.transpose(1, 2)) for filters in n.filters], dim=1).transpose(1, 2)
        return n.head(F.dropout(n.rows(y, y), _DROPOUT, n.training)[:, -1])

    filters = nn.ModuleList(convolution(COLUMNS, 64, kernel) for kernel in (3, 5, 7, 11))
    return Chain(forward, filters=filters, rows=RowAttention(256, 8), head=nn.Linear(256, 1))


def multi_scale_cnn() -> Chain:
    def forward(n: Any, x: Tensor) -> Tensor:
        seen = [branch(x.transpose(1, 2)) for branch in n.branches]  # (B, 32, W) each
        return n.end(torch.cat([part for y in seen for part in (y.mean(dim=2), y[:, :, -1])], dim=1))

    local, middle = convolution(COLUMNS, 32, 3), nn.Sequential(convolution(COLUMNS, 32, 5), convolution(32, 32, 5))
    long = nn.Sequential(convolution(COLUMNS, 32, 5), convolution(32, 32, 5, 2), convolution(32, 32, 5, 4))
    return Chain(forward, branches=nn.ModuleList([local, middle, long]), end=head(192, 64))


def hybrid() -> Chain:
    def forward(n: Any, x: Tensor) -> Tensor:
        local, past = n.cnn(x.transpose(1, 2)).transpose(1, 2), n.lstm(x)[0]  # (B, W, 64) both
        read, reading = n.local_reads(local, past), n.past_reads(past, local)
        seen = (
            torch.cat([local.mean(dim=1), local[:, -1]], dim=1),
            past[:, -1],
            torch.cat([read.mean(dim=1), reading[:, -1]], dim=1),
        )
        said = torch.stack([end(each) for end, each in zip(n.heads, seen, strict=True)], dim=1)  # (B, 3, O)
        return (said * torch.softmax(n.weights.weight[0], dim=0)[:, None]).sum(dim=1)

    outputs = output_count("multi_task")
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(64, outputs))
        for width in (128, 64, 128)
    )
    return Chain(
        forward,
        cnn=nn.Sequential(convolution(COLUMNS, 64, 3), convolution(64, 64, 5)),
        lstm=nn.LSTM(COLUMNS, 32, 2, batch_first=True, bidirectional=True, dropout=_DROPOUT),
        local_reads=RowAttention(64, 4),
        past_reads=RowAttention(64, 4),
        heads=heads,
        weights=nn.Linear(3, 1, bias=False),
    )


class TemporalLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(COLUMNS, 128)
        self.rows = nn.ModuleList(nn.LSTM(128, 64, batch_first=True, bidirectional=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(128) for _ in range(3))
        self.key, self.query = nn.Linear(128, 128), nn.Linear(128, 128, bias=False)
        self.score, self.end = nn.Linear(128, 1, bias=False), head(256, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for number, (rows, norm) in enumerate(zip(self.rows, self.norms, strict=True)):
            x = norm(rows(x)[0] + x)
            x = F.dropout(x, _DROPOUT, self.training and number < 2)
        scores = self.score(torch.tanh(self.key(x) + self.query(x[:, -1:]))).squeeze(2)
        context = (torch.softmax(scores, dim=1).unsqueeze(1) @ x).squeeze(1)
        return self.end(torch.cat([x[:, -1], context], dim=1))


def two_stage() -> Chain:
    def forward(n: Any, x: Tensor) -> Tensor:
        maps = n.first[0].maps[:2](x.transpose(1, 2)).transpose(1, 2)
        return n.end(n.rows(maps)[0][:, -1])

    return Chain(forward, first=Frozen([cnn()]), rows=nn.LSTM(64, 64, batch_first=True), end=head(64, 64))


def ensemble() -> Chain:
    def forward(n: Any, x: Tensor) -> Tensor:
        said = n.base.said(x)  # (B, 3)
        weighted = (said * torch.softmax(n.weigh(said), dim=1)).sum(dim=1, keepdim=True)
        return (weighted + n.meta(said)) / 2

    return Chain(
        forward,
        base=Frozen([recurrent(nn.LSTM), cnn(), attention()]),
        weigh=nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 3)),
        meta=dense(3, (64, 32), 0.0),
    )


def lstm_ensemble() -> Chain:
    base = Frozen([recurrent(nn.LSTM, 64, 64) for _ in range(3)])
    return Chain(lambda n, x: n.base.said(x).mean(dim=1, keepdim=True), base=base)


def stacked_ensemble() -> Chain:
    base = Frozen([recurrent(nn.LSTM, 64, 64), recurrent(nn.GRU, 64, 64), cnn(), bin_tabl()])

    def forward(n: Any, x: Tensor) -> Tensor:
        said = n.base.said(x)  # (B, 4)
        return (said.mean(dim=1, keepdim=True) + n.meta(said)) / 2

    return Chain(forward, base=base, meta=dense(4, (16,), 0.0))


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "attention": attention,
    "bin_tabl": bin_tabl,
    "cnn": cnn,
    "cnn_lstm": cnn_lstm,
    "deep_lob": deep_lob,
    "ensemble": ensemble,
    "gru": lambda: recurrent(nn.GRU),
    "hybrid": hybrid,
    "lstm": lambda: recurrent(nn.LSTM),
    "lstm_ensemble": lstm_ensemble,
    "mixer": mixer,
    "mlp": mlp,
    "multi_filter_cnn": multi_filter_cnn,
    "multi_scale_cnn": multi_scale_cnn,
    "stacked_ensemble": stacked_ensemble,
    "temporal_lstm": TemporalLstm,
    "two_stage": two_stage,
}
"""By the names of the networks."""
