"""Every cell by its number; what it is, its own file says. A new one is an entry."""

from cell cimport Cell
from gru cimport set_gru
from indrnn cimport set_indrnn
from layer_norm_lstm cimport set_layer_norm_lstm
from lstm cimport set_lstm
from rnn cimport set_rnn
from unit cimport GENERAL
from vec cimport isize, real_t

cdef enum Kind:
    RNN = 0
    GRU = 1
    LSTM = 2
    IND_RNN = 3
    LAYER_NORM_LSTM = 4
    COUNT = 5


cdef inline void set_functions(
    Cell[real_t]* cell, const double* functions, isize count
) noexcept nogil:
    """Give the cell functions of choice, each as its code, alpha, beta and its sums' bound."""
    cdef isize k
    for k in range(count):
        cell.activation[k].code = <int> functions[4 * k]
        cell.activation[k].alpha = <real_t> functions[4 * k + 1]
        cell.activation[k].beta = <real_t> functions[4 * k + 2]
        cell.activation[k].clip = <real_t> functions[4 * k + 3]
    if count:
        cell.options |= GENERAL


cdef inline void set_cell(Cell[real_t]* cell, int kind, int options, double eps) noexcept nogil:
    """Describe a cell; all of it is zero before."""
    cell.options = options
    cell.eps = <real_t> eps
    if kind == RNN:
        set_rnn(cell)
    elif kind == GRU:
        set_gru(cell)
    elif kind == LSTM:
        set_lstm(cell)
    elif kind == IND_RNN:
        set_indrnn(cell)
    elif kind == LAYER_NORM_LSTM:
        set_layer_norm_lstm(cell)
