"""Every cell that there is. A new one is a line here, and its own files."""

from rnncore._cells.gru import GRU
from rnncore._cells.indrnn import IND_RNN
from rnncore._cells.layer_norm_lstm import LAYER_NORM_LSTM
from rnncore._cells.lstm import LSTM
from rnncore._cells.rnn import RNN

CELLS = {kind.name: kind for kind in (RNN, GRU, LSTM, IND_RNN, LAYER_NORM_LSTM)}
