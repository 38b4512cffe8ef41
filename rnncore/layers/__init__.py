"""The layers, their cells, frozen layers and streams, and the files that keep layers."""

from rnncore.layers.kinds import GRU, LSTM, RNN, IndRNN, LayerNormLSTM

__all__ = ["GRU", "LSTM", "RNN", "IndRNN", "LayerNormLSTM"]
