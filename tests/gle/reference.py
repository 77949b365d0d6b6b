"""Algorithm 1 of the paper, line by line in NumPy, one sample at a time."""

import numpy as np


def algorithm1(weights, biases, tau_m, tau_r, inputs, targets, *, dt, beta, gamma, rates, fresh_errors=False):
    """Runs on inputs [time, sources] with tanh neurons and squared errors; `rates` are those of W, b, tau_m, tau_r.

    Returns the output rates of every step and the parameters in the end.
    """
    weights, biases, tau_m, tau_r = ([np.array(x) for x in xs] for xs in (weights, biases, tau_m, tau_r))
    top = len(weights) - 1
    zeros = [np.zeros(len(b)) for b in biases]
    u, v, r, e, inst, slope = ([x.copy() for x in zeros] for _ in range(6))
    slope, back = [x + 1 for x in slope], [x.copy() for x in zeros]
    outputs = []
    for x, target in zip(inputs, targets, strict=True):
        outputs.append(r[top].copy())
        old = [[x.copy() for x in xs] for xs in (weights, biases, tau_m, tau_r, u, v, r, e, inst, slope, back)]
        w_, b_, m_, p_, u_, v_, r_, e_, inst_, slope_, back_ = old
        for l in range(top + 1):
            below = x if l == 0 else r_[l - 1]
            if l == top:
                inst[l] = beta * slope_[l] * (target - r_[l])
            elif fresh_errors:
                inst[l] = slope_[l] * back_[l]
            else:
                inst[l] = slope_[l] * (w_[l + 1].T @ e_[l + 1])
            dv = (-v_[l] + (inst[l] if fresh_errors else inst_[l])) / p_[l]
            v[l] = v_[l] + dt * dv
            e[l] = v_[l] + m_[l] * dv
            if l:
                back[l - 1] = w_[l].T @ e[l]
            du = (-u_[l] + w_[l] @ below + b_[l] + gamma * (e[l] if fresh_errors else e_[l])) / m_[l]
            u[l] = u_[l] + dt * du
            r[l] = np.tanh(u_[l] + p_[l] * du)
            slope[l] = 1 - r[l] ** 2
            used, used_inst = (e[l], inst[l]) if fresh_errors else (e_[l], inst_[l])
            weights[l] = w_[l] + rates[0] * np.outer(used, below)
            biases[l] = b_[l] + rates[1] * used
            tau_m[l] = m_[l] - rates[2] * used * du
            tau_r[l] = p_[l] + rates[3] * used_inst * du
    return np.array(outputs), (weights, biases, tau_m, tau_r)
