"""The layers CuDNNLSTM and CuDNNGRU of Keras 2, whose arrays lie as cuDNN reads them.

Source: the loader of Keras 2.15, `_convert_rnn_weights` of `keras.src.saving.legacy.hdf5_format`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLAIN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
GATES = {"CuDNNLSTM": 4, "CuDNNGRU": 3}


def plain(kind: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays of an LSTM, or of a GRU with ``reset_after``, that computes the same.

    A block of a kernel is (H, I) numbers in an array of shape (I, H), one of a recurrent kernel is
    turned, and there are two biases of each gate, of which an LSTM of Keras has the sum.

    Raises
    ------
    ValueError for arrays that cannot be such.
    """
    G = GATES[kind]
    kernel, recurrent, bias = arrays
    I, H = kernel.shape[0], recurrent.shape[0]
    expected = [(I, G * H), (H, G * H), (2 * G * H,)]
    if [array.shape for array in arrays] != expected:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"has arrays of the shapes {shapes}, expected {expected}")
    kernels = [np.reshape(block, (H, I)).T for block in np.split(kernel, G, axis=1)]
    turned = [block.T for block in np.split(recurrent, G, axis=1)]
    biases = bias.reshape(2, -1)
    return [np.hstack(kernels), np.hstack(turned), biases if G == 3 else biases.sum(axis=0)]
