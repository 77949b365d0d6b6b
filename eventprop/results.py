"""What became of a simulation or of a whole experiment."""

import equinox as eqx


class RESULTS(eqx.Enumeration):
    """How a simulation or an experiment ended.

    Works under `jit` and `vmap`; compare with `result == RESULTS.successful`, and look up the message with
    `RESULTS[result]`.
    """

    successful = ""
    spikes_lost = "A neuron fired more often than the solver's `max_spikes`; raise that bound."
    invalid_input = (
        "Input times were unsorted, negative or NaN, a source did not exist, a neuron began at or above its threshold, "
        "or a neuron parameter was out of range."
    )
    non_finite = "A value was NaN or infinite where only finite values make sense."
