"""What became of a simulation."""

import equinox as eqx


class RESULTS(eqx.Enumeration):
    """The result of `simulate`, per network."""

    successful = ""
    rate_saturated = (
        "A neuron was to fire with a probability above 1 per step, so its rate is cut off at 1 / dt: lower dt, the "
        "weights or the biases, or use sal.LogisticEscape."
    )
    non_finite = "A membrane potential is NaN or infinite: check weights, biases and drive."
