"""The functions of a well-known course exercise, to check an own solution against.

Names, arguments, shapes, dictionaries and caches are those of "Building your Recurrent Neural
Network - Step by Step" and of "Dinosaurus Island" in the Deep Learning Specialization; the code is
this package's own. Sizes: n_x inputs, n_a hidden units, n_y outputs, m examples, T_x steps.
Examples are columns, time is the last axis, and a matrix of the LSTM acts on ``[a_prev; xt]``::

    RNN     Wax (n_a, n_x), Waa (n_a, n_a), ba (n_a, 1), Wya (n_y, n_a), by (n_y, 1)
    LSTM    Wf, Wi, Wc, Wo (n_a, n_a + n_x), bf, bi, bc, bo (n_a, 1), Wy (n_y, n_a), by (n_y, 1)

The forward functions call the compiled core. The backward functions need nothing but the numbers in
a cache, from which they make the trace that `rnncore.reference` reads: so they take the caches of
your own forward functions too, and yours take these. All arrays of a call are float64, or all are
float32. New arrays come back, but for the x and the parameters in a cache.

`check` says of a function of your own which outputs are wrong, and which mistake it looks like.

docs/equations.md has the notation beside that of the code, and derives the gradients.
"""

from rnncore.course.lstm import lstm_backward, lstm_cell_backward, lstm_cell_forward, lstm_forward
from rnncore.course.mistakes import Mistake
from rnncore.course.names import clip, sample
from rnncore.course.rnn import rnn_backward, rnn_cell_backward, rnn_cell_forward, rnn_forward
from rnncore.course.solutions import Report, check

__all__ = [
    "Mistake",
    "Report",
    "check",
    "clip",
    "lstm_backward",
    "lstm_cell_backward",
    "lstm_cell_forward",
    "lstm_forward",
    "rnn_backward",
    "rnn_cell_backward",
    "rnn_cell_forward",
    "rnn_forward",
    "sample",
]
