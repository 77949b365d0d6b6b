"""Two coupled neurons as a dense Markov chain, in obvious loops."""

import numpy as np


def chain(weights, biases, kernel, refractory, cap, *, sequential):
    """Transition matrices of the events "nobody", "only 1", "only 2", "both", at [new, old], states in row-major order.

    `kernel` gives the PSP at times in steps; a neuron whose last spike is `cap` or more steps ago is in state `cap`.
    """

    def probability(neuron, state, psp):
        if state < refractory:
            return 0.0
        return 1 / (1 + np.exp(-(biases[neuron] + weights[neuron] * psp - np.log(refractory))))

    first = 0.5 if sequential else 1.0
    psp = {state: kernel(state - 1 + first) for state in range(1, cap + 1)}
    matrices = {event: np.zeros((cap * cap, cap * cap)) for event in ("nobody", "only 1", "only 2", "both")}

    def index(a, b):
        return (a - 1) * cap + b - 1

    for a in range(1, cap + 1):
        for b in range(1, cap + 1):
            older_a, older_b = min(a + 1, cap), min(b + 1, cap)
            p1 = probability(0, a, psp[b])
            after_silence = probability(1, b, psp[older_a if sequential else a])
            after_spike = probability(1, b, psp[1 if sequential else a])
            old = index(a, b)
            matrices["nobody"][index(older_a, older_b), old] += (1 - p1) * (1 - after_silence)
            matrices["only 1"][index(1, older_b), old] += p1 * (1 - after_spike)
            matrices["only 2"][index(older_a, 1), old] += (1 - p1) * after_silence
            matrices["both"][index(1, 1), old] += p1 * after_spike
    return matrices


def stationary(matrices):
    """The eigenvector of the eigenvalue 1 (Eq. 19)."""
    values, vectors = np.linalg.eig(sum(matrices.values()))
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return vector / vector.sum()


def pairs(matrices, lags, *, sequential):
    """The rates per step of nearest pairs that end with neuron 1, with neuron 2, and of coincident ones (Eq. 20)."""
    before = stationary(matrices)
    spiked = {event: matrix @ before for event, matrix in matrices.items()}
    later = np.zeros((2, lags))

    def follow(state, events, first_lag, neuron):
        for lag in range(first_lag, lags):
            later[neuron, lag] += sum(np.sum(matrices[event] @ state) for event in events)
            state = matrices["nobody"] @ state

    if sequential:
        later[1, 0] = np.sum(spiked["both"])
        follow(spiked["only 1"], ("only 2",), 1, 1)
        follow(spiked["only 2"] + spiked["both"], ("only 1", "both"), 0, 0)
        return later, 0.0
    follow(spiked["only 1"] + spiked["both"], ("only 2", "both"), 0, 1)
    follow(spiked["only 2"] + spiked["both"], ("only 1", "both"), 0, 0)
    return later, np.sum(spiked["both"])
