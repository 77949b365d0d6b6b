"""The dendritic microcircuit with one hidden layer, line by line in NumPy, one sample at a time."""

import numpy as np

LEAK, BASAL, APICAL, DENDRITIC, SOMATIC = 0.03, 0.1, 0.06, 0.1, 0.06


def softplus(x):
    return np.log1p(np.exp(x))


def microcircuit(w1, w2, b, ip, pi, inputs, targets, *, dt, rates, prospective):
    """Euler steps in which everybody sees the potentials of the step before; `b` has the shape of w2.

    `rates` are those of w1, w2, ip and pi per step. Returns the output potentials of every step and the weights.
    """
    w1, w2, ip, pi = (np.array(x) for x in (w1, w2, ip, pi))
    hidden, out = len(w1), len(w2)
    up, uo, ui = np.zeros(hidden), np.zeros(out), np.zeros(out)
    seen_p, seen_o, seen_i = np.zeros(hidden), np.zeros(out), np.zeros(out)
    outputs = []
    for x, target in zip(inputs, targets, strict=True):
        rp, ro, ri = softplus(seen_p), softplus(seen_o), softplus(seen_i)
        v1, v2, api, den = w1 @ x, w2 @ rp, b.T @ ro + pi @ ri, ip @ rp
        dp = BASAL * (v1 - up) + APICAL * (api - up) - LEAK * up
        do = BASAL * (v2 - uo) + SOMATIC * (target - uo) - LEAK * uo
        di = DENDRITIC * (den - ui) + SOMATIC * (seen_o - ui) - LEAK * ui
        if prospective:
            new_p = up + dp / (BASAL + APICAL + LEAK)
            new_o = uo + do / (BASAL + SOMATIC + LEAK)
            new_i = ui + di / (DENDRITIC + SOMATIC + LEAK)
        else:
            new_p, new_o, new_i = up, uo, ui
        outputs.append(new_o)
        w1 = w1 + rates[0] * np.outer(softplus(new_p) - softplus(BASAL / (LEAK + BASAL + APICAL) * v1), x)
        w2 = w2 + rates[1] * np.outer(softplus(new_o) - softplus(BASAL / (LEAK + BASAL) * v2), rp)
        ip = ip + rates[2] * np.outer(softplus(new_i) - softplus(DENDRITIC / (LEAK + DENDRITIC) * den), rp)
        pi = pi - rates[3] * np.outer(api, ri)
        up, uo, ui = up + dt * dp, uo + dt * do, ui + dt * di
        seen_p, seen_o, seen_i = new_p, new_o, new_i
    return np.array(outputs), (w1, w2, ip, pi)
