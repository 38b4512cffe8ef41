"""Modules of PyTorch as people write them: all of them are chains of layers."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pad_packed_sequence

V, I, H, C = 11, 5, 6, 4  # ids, features, hidden units, classes


class Tagger(nn.Module):
    """One class a step."""

    def __init__(self, cell="LSTM", batch_first=True, **options):
        super().__init__()
        self.embedding = nn.Embedding(V, I, padding_idx=0)
        self.rnn = getattr(nn, cell)(I, H, batch_first=batch_first, **options)
        width = options.get("proj_size") or H
        self.fc = nn.Linear(width * (2 if options.get("bidirectional") else 1), C)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        y, _ = self.rnn(self.dropout(self.embedding(x)))
        return functional.log_softmax(self.fc(y), dim=-1)


class LastStep(nn.Module):
    """A classifier that begins with zeros of its own, and takes the last step."""

    def __init__(self, how="slice", cell="LSTM"):
        super().__init__()
        self.how = how
        self.lstm = getattr(nn, cell)(I, H, num_layers=2, batch_first=True, dropout=0.2)
        self.fc = nn.Linear(H, C)

    def forward(self, x):
        h0 = torch.zeros(2, x.size(0), H).to(x.device)
        state = (h0, torch.zeros(2, x.size(0), H)) if isinstance(self.lstm, nn.LSTM) else h0
        y, state = self.lstm(x, state)
        h = state[0] if isinstance(state, tuple) else state
        if self.how == "slice":
            return self.fc(y[:, -1, :])
        if self.how == "size":
            return self.fc(y[:, x.size(1) - 1])
        if self.how == "range":
            return self.fc(y[:, -1:]).squeeze(1)
        return self.fc(h[-1])


class BothEnds(nn.Module):
    """A classifier of both directions' ends, in the ways people take them."""

    def __init__(self, how, batch_first=True, layers=1):
        super().__init__()
        self.how, self.layers = how, layers
        self.rnn = nn.GRU(I, H, layers, batch_first=batch_first, bidirectional=True)
        self.fc = nn.Linear(H if how in ("sum", "mean", "add", "one", "mul") else 2 * H, C)

    def forward(self, x):
        y, h = self.rnn(x)
        B = x.size(0 if self.rnn.batch_first else 1)
        last, first = (y[:, -1], y[:, 0]) if self.rnn.batch_first else (y[-1], y[0])
        ends = {
            "cat": lambda: torch.cat([h[-2], h[-1]], dim=1),
            "cat3": lambda: torch.cat((h[-2, :, :], h[-1, :, :]), dim=-1),
            "view": lambda: torch.cat(list(h.view(self.layers, 2, B, H)[-1]), 1),
            "permute": lambda: h.permute(1, 0, 2).reshape(B, -1),
            "transpose": lambda: h.transpose(0, 1).contiguous().view(B, 2 * H),
            "outputs": lambda: torch.cat((last[:, :H], first[:, H:]), dim=1),
            "one": lambda: h[-1],
            "add": lambda: (y[..., :H] + y[..., H:])[:, -1],
            "mul": lambda: (y[..., :H] * y[..., H:])[:, -1],
            "sum": lambda: y.view(*y.shape[:2], 2, H).sum(2)[:, -1],
            "mean": lambda: y.view(*y.shape[:2], 2, H).mean(dim=2)[:, -1],
            "last": lambda: last,
        }
        return self.fc(ends[self.how]())


class Pooled(nn.Module):
    """A classifier of a mean or the largest over time."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.embedding = nn.Embedding(V, I)
        self.rnn = nn.GRU(I, H, batch_first=True)
        self.norm = nn.LayerNorm(H)
        self.head = nn.Sequential(nn.Linear(H, H), nn.ReLU(inplace=True), nn.Linear(H, C))

    def forward(self, x):
        y = self.norm(self.rnn(self.embedding(x))[0])
        pooled = {
            "mean": lambda: y.mean(dim=1),
            "keep": lambda: y.mean(1, keepdim=True).squeeze(1),
            "max": lambda: y.max(dim=1).values,
            "max2": lambda: torch.max(y, 1)[0],
            "amax": lambda: y.amax(1),
            "avg1d": lambda: functional.adaptive_avg_pool1d(y.transpose(1, 2), 1).squeeze(-1),
            "max1d": lambda: functional.adaptive_max_pool1d(y.permute(0, 2, 1), 1).flatten(1),
        }
        return self.head(pooled[self.how]())


class ConvFront(nn.Module):
    """Convolutions before a recurrent layer; x is (B, T, I), or (B, I, T)."""

    def __init__(self, channels_first=False, **options):
        super().__init__()
        self.channels_first = channels_first
        self.conv = nn.Sequential(
            nn.Conv1d(I, H, 3, **options), nn.BatchNorm1d(H), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(H, H, 3, padding=1, groups=2), nn.GELU(),
        )  # fmt: skip
        self.rnn = nn.LSTM(H, H, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * H, C)

    def forward(self, x):
        if not self.channels_first:
            x = x.transpose(1, 2)
        y, _ = self.rnn(self.conv(x).transpose(1, 2))
        return self.fc(y)


class Causal(nn.Module):
    """Causal convolutions with something added, in two ways; (B, C, T) from end to end."""

    def __init__(self):
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Conv1d(I, I, 3, dilation=2))
        self.second = nn.Conv1d(I, I, 2, padding=1)

    def forward(self, x):
        y = torch.tanh(self.first(functional.pad(x, (4, 0))))
        x = x + y
        y = self.second(x)[:, :, :-1]
        return torch.relu(x + torch.relu(y))


class Stacked(nn.Module):
    """Recurrent layers with x added, time first within and batch first without."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(I, H)
        self.rnns = nn.ModuleList([nn.LSTM(H, H), nn.GRU(H, H), nn.RNN(H, H, nonlinearity="relu")])
        self.norm = nn.LayerNorm(H, bias=False)

    def forward(self, x):
        x = self.first(x).transpose(0, 1)
        for rnn in self.rnns:
            y, _ = rnn(x)
            x = self.norm(x + y)
        return x.transpose(0, 1)


class Language(nn.Module):
    """A language model that takes and gives its state, with a tied and flattened head."""

    def __init__(self, flat=True):
        super().__init__()
        self.flat = flat
        self.encoder = nn.Embedding(V, H)
        self.rnn = nn.LSTM(H, H, 2)
        self.decoder = nn.Linear(H, V)
        self.decoder.weight = self.encoder.weight

    def forward(self, x, hidden=None):
        y, hidden = self.rnn(self.encoder(x), hidden)
        y = self.decoder(y.reshape(-1, H))
        return (y if self.flat else y.view(x.size(0), x.size(1), V)), hidden


class Forecast(nn.Module):
    """A series of single numbers to the next one, scaled on the way in and out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(1.5))
        self.register_buffer("scales", torch.rand(H) + 0.5)
        self.rnn = nn.GRU(1, H, batch_first=True)
        self.w = nn.Parameter(torch.randn(H, 1))

    def forward(self, x):
        x = (x.unsqueeze(-1) - self.mean) / 2
        y = self.rnn(x)[0] * self.scales - 0.5
        return torch.sigmoid(y @ self.w)[:, -1].squeeze(-1)


class Backwards(nn.Module):
    """A layer that reads from the end, with normed weights."""

    def __init__(self):
        super().__init__()
        self.rnn = parametrizations.weight_norm(nn.GRU(I, H, batch_first=True), "weight_hh_l0")
        self.fc = nn.utils.weight_norm(nn.Linear(H, C))

    def forward(self, x):
        y = self.rnn(x.flip(1))[0].flip([1])
        return functional.softmax(self.fc(functional.elu(y)), 2)


class Packed(nn.Module):
    """Rows of their own lengths, packed: a tagger, or a classifier of the final state."""

    def __init__(self, tags, batch_first=True):
        super().__init__()
        self.tags = tags
        self.embedding = nn.Embedding(V, I)
        self.rnn = nn.LSTM(I, H, 2, batch_first=batch_first, bidirectional=True)
        self.fc = nn.Linear(2 * H, C)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(x), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        y, (h, _) = self.rnn(packed)
        if not self.tags:
            return self.fc(torch.cat([h[-2], h[-1]], 1))
        y, _ = pad_packed_sequence(y, batch_first=True)
        return self.fc(y)
