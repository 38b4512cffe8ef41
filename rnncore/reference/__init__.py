"""The cells in NumPy: the oracle for the compiled core, written to be read.

One layer, one direction. Every forward line carries a number, such as (L0) to (L6), and what all
cells share a letter alone, (M) and (Z); the backward step beside it walks the numbers backwards,
one derivative a line, quoting the line it undoes. docs/equations.md derives them in the same
letters and numbers.

`d` + a name is the gradient of that thing, `dpre` that of the sums the activations are applied to.
Weights have PyTorch's layout: the blocks of the gates are stacked by rows, r z n and i f g o.
`sigma`, `phi` and `psi` are the activations of gates, candidate and memory: the logistic function,
tanh and tanh unless the option `activations` names others; rnncore/_cells/activations.py has
formulas and derivatives.

The layers of models have their twins here too: (A1) to (A12) in the file parts.py, (A13) to (A17)
in maps.py.
"""

from rnncore.reference.gru import gru_backward, gru_forward
from rnncore.reference.indrnn import indrnn_backward, indrnn_forward
from rnncore.reference.layer_norm_lstm import layer_norm_lstm_backward, layer_norm_lstm_forward
from rnncore.reference.lstm import lstm_backward, lstm_forward
from rnncore.reference.maps import (
    dropout_forward,
    embedding_backward,
    embedding_forward,
    linear_backward,
    linear_forward,
    merge_backward,
    merge_forward,
    reverse_forward,
)
from rnncore.reference.parts import (
    activation_backward,
    activation_forward,
    batch_norm_backward,
    batch_norm_forward,
    conv1d_backward,
    conv1d_forward,
    layer_norm_backward,
    layer_norm_forward,
    pool_backward,
    pool_forward,
)
from rnncore.reference.rnn import rnn_backward, rnn_forward

__all__ = [
    "activation_backward",
    "activation_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "conv1d_backward",
    "conv1d_forward",
    "dropout_forward",
    "embedding_backward",
    "embedding_forward",
    "gru_backward",
    "gru_forward",
    "indrnn_backward",
    "indrnn_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "layer_norm_lstm_backward",
    "layer_norm_lstm_forward",
    "linear_backward",
    "linear_forward",
    "lstm_backward",
    "lstm_forward",
    "merge_backward",
    "merge_forward",
    "pool_backward",
    "pool_forward",
    "reverse_forward",
    "rnn_backward",
    "rnn_forward",
]
