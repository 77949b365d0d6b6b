"""What became of a simulation or of a whole experiment."""

import equinox as eqx


class RESULTS(eqx.Enumeration):
    """How a simulation or an experiment ended.

    Works under `jit` and `vmap`; compare with `result == RESULTS.successful`, and look up the message with
    `RESULTS[result]`.
    """

    successful = ""
    spikes_lost = (
        "A neuron fired more often than the solver's `max_spikes`, a layer more often than its `max_events`, or more "
        "spikes were under way than its `max_in_flight`; raise that bound."
    )
    invalid_parameters = (
        "A parameter is out of range or a state is none to start from (`neuron.valid`): time constants (tau_mem, "
        "tau_syn and the like), widths and refractory periods must be positive; resets and potentials at rest must lie "
        "below the threshold or peak, as must the potential of a neuron that starts in its refractory period; what is "
        "left of that is not negative; at rest all guards are below zero."
    )
    negative_delay = "Delays must not be negative or NaN; project them after every update (`keep_not_negative`)."
    unknown_source = "spikes.index must name sources of the network's first layer: 0 to weight.shape[1] - 1."
    unsorted_times = "spikes.times must be sorted, not negative and not NaN (inf: no event)."
    invalid_trains = "Times of the spikes that `Replay` is given must not be negative or NaN (inf: no spike)."
    invalid_time = (
        "t1 and saveat.ts must not be negative or NaN, and a solver's `largest_step` must be positive and finite."
    )
    too_many_steps = (
        "The solver came to its `max_steps` before the end of the trial: raise that bound or loosen its tolerances. (A "
        "neuron that stays at its threshold after its reset fires without end.)"
    )
    step_too_long = (
        "A neuron was at its threshold again in the same step of the solver: give a smaller `dt`, or its neuron a "
        "refractory period of `dt`. (One that stays there after its reset fires without end.)"
    )
    non_finite = "A value was NaN or infinite where only finite values make sense."
