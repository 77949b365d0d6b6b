"""Slow, obvious references in NumPy."""

import numpy as np


def stdp_sums(pre, post, causal, anticausal, *, pairing, coincidence, pre_first=None):
    """Double loop over the spikes of one pair of neurons, given as sorted times.

    `pairing` is "all", "last" or "nearest", `coincidence` "dropped", "shared" or "swept"; then half a step, 0.5, lies
    between the updates of the two neurons. Returns the sums over causal and anti-causal pairs.
    """
    shift = 0.0
    if coincidence == "swept":
        # In a sweep, who is updated later fires half a step later.
        shift = 0.5 if pre_first else -0.5
    post = [t + shift for t in post]
    forth = back = 0.0
    for t_pre in pre:
        for t_post in post:
            if t_pre == t_post:
                if coincidence == "shared":
                    forth += 0.5 * causal(0.0)
                    back += 0.5 * anticausal(0.0)
                continue
            early, late = min(t_pre, t_post), max(t_pre, t_post)
            first, second = (pre, post) if t_pre < t_post else (post, pre)
            if pairing in ("last", "nearest") and any(early < t < late for t in first):
                continue
            if pairing == "nearest" and any(early < t < late for t in second):
                continue
            if t_pre < t_post:
                forth += causal(late - early)
            else:
                back += anticausal(late - early)
    return forth, back


def windows():
    """Plain functions of the time difference, beside the arguments of the library's kernels."""
    return {
        "Rectangular": ((4.0,), lambda s: float(s <= 4.0)),
        "Triangular": ((6.0,), lambda s: max(1 - s / 6.0, 0.0)),
        "Exponential": ((5.0, 0.7), lambda s: 0.7 * np.exp(-s / 5.0)),
        "Alpha": ((3.0, 2.0), lambda s: 2.0 / 9.0 * s * np.exp(-s / 3.0)),
        "DoubleExponential": (
            (2.0, 5.0, 3.0),
            lambda s: 3.0 / (5.0 - 2.0) * (np.exp(-s / 5.0) - np.exp(-s / 2.0)),
        ),
    }


def simulate(weights, bias, kernel, noise, *, refractory, dt, probability, sweeps, last_only=False, drive=None):
    """Spikes [time, neurons] of a network, from the definition of the membrane potential as a sum over all past spikes.

    `sweeps` lists the blocks of neurons that are updated one after the other; None updates all at once.
    """
    steps, neurons = noise.shape
    spikes = np.zeros((steps, neurons), bool)
    potentials = np.zeros((steps, neurons))
    updated = [np.arange(neurons)] if sweeps is None else sweeps
    lag = 1.0 if sweeps is None else 0.5
    for t in range(steps):
        done = set()
        for block in updated:
            for i in block:
                u = bias[i] + (0.0 if drive is None else drive[t, i])
                for j in range(neurons):
                    # Of a neuron updated earlier in this sweep, this step's spike counts.
                    last = t if j in done else t - 1
                    times = [s for s in range(last + 1) if spikes[s, j]]
                    times = times[-1:] if last_only else times
                    u += weights[i, j] * sum(kernel((last - s + lag) * dt) for s in times)
                potentials[t, i] = u
            for i in block:
                past = np.flatnonzero(spikes[:t, i])
                ready = len(past) == 0 or t - past[-1] >= refractory
                spikes[t, i] = ready and noise[t, i] < probability(potentials[t, i])
            done |= set(block)
    return spikes, potentials
