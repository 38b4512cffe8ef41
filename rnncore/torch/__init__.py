"""The recurrent layers of PyTorch, computed by rnncore: `replace(model)`, and modules to use."""

from rnncore.torch.cells import GRUCell, IndRNNCell, LayerNormLSTMCell, LSTMCell, RNNCell
from rnncore.torch.layers import GRU, LSTM, RNN, IndRNN, LayerNormLSTM
from rnncore.torch.swap import Report, replace, restore

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "LSTMCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "RNNCell",
    "Report",
    "replace",
    "restore",
]
