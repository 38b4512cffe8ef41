"""One step of an optimiser, of native/optim.h."""

from places cimport Places

cdef extern from "native/optim.h" namespace "rnncore" nogil:
    cdef struct AdamRates:
        double decay
        double mean
        double kept
        double square
        double unbias
        double eps
        double rate

    void adam_step(
        const Places& param, const Places& grad, const Places& mean, const Places& square,
        const AdamRates& rates,
    )
    void sgd_step(
        const Places& param, const Places& grad, const Places& velocity, double momentum, double lr
    )
