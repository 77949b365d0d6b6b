"""The paper's Algorithm 1, plainly, in PyTorch: one online step is a step of the dynamics and one of Adam."""

from collections.abc import Callable

import numpy as np

from benchmarks.speed.online_problem import BETA, DT, RATE, OnlineProblem


def build(problem: OnlineProblem, *, compile: bool, fused: bool) -> Callable[[int], np.ndarray]:
    """`run(steps)` goes on for so many steps and returns the logits of the last one.

    `compile`: the dynamics by torch.compile. `fused`: Adam as one kernel per parameter, which is not the default.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(problem.cores)
    as_tensor = torch.from_numpy
    weights = [as_tensor(w.copy()) for w in problem.weights]
    biases = [as_tensor(b.copy()) for b in problem.biases]
    tau_m, tau_r = [as_tensor(x) for x in problem.tau_m], [as_tensor(x) for x in problem.tau_r]
    inputs, target = as_tensor(problem.inputs), as_tensor(problem.target)
    top = len(weights) - 1
    optimiser = torch.optim.Adam(weights + biases, lr=RATE, fused=fused)

    def activation(layer, potential):
        return potential if layer == 0 else torch.tanh(potential) if layer < top else torch.softmax(potential, -1)

    def slope(layer, rate):
        return 1 - rate * rate if layer else 1.0

    def dynamics(x, weights, biases, us, vs, potentials, returned):
        """All layers at once (Jacobi); e_inst enters v and e at once, as in the authors' code.

        `returned`: the errors from above, W^T e, of the step before, by the weights that it had.
        """
        rates = [activation(layer, potential) for layer, potential in enumerate(potentials)]
        new_us, new_vs, new_potentials, new_returned, gradients = [], [], [], [], []
        for layer, (u, v) in enumerate(zip(us, vs, strict=True)):
            below = x if layer == 0 else rates[layer - 1]
            du = (torch.addmm(biases[layer], below, weights[layer].T) - u) / tau_m[layer]
            if layer == top:
                instant = BETA * (target - rates[layer])
            else:
                instant = slope(layer, rates[layer]) * returned[layer]
            dv = (instant - v) / tau_r[layer]
            error = v + tau_m[layer] * dv
            new_us.append(u + DT * du)
            new_vs.append(v + DT * dv)
            new_potentials.append(u + tau_r[layer] * du)
            if layer:
                new_returned.append(error @ weights[layer])
            gradients.append((error.T @ below / -len(x), error.mean(0).neg()))
        return new_us, new_vs, new_potentials, new_returned, gradients

    step = torch.compile(dynamics) if compile else dynamics
    zeros = [torch.zeros(len(target), len(b)) for b in biases]
    state = [zeros, zeros, zeros, zeros[:-1]]
    position = 0

    def run(steps: int) -> np.ndarray:
        nonlocal state, position
        with torch.no_grad():
            for _ in range(steps):
                *state, gradients = step(inputs[position % len(inputs)], weights, biases, *state)
                for weight, bias, (by_weight, by_bias) in zip(weights, biases, gradients, strict=True):
                    weight.grad, bias.grad = by_weight, by_bias
                optimiser.step()
                position += 1
        return state[2][top].numpy()

    return run
