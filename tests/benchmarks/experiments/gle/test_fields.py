import jax.numpy as jnp
import numpy as np

import gle
from benchmarks.experiments.gle.fields import WIDTH, receptive_fields


def test_fields_of_neurons_in_a_row_have_the_area_of_the_value_and_are_late_by_the_sum_of_their_lags():
    """Section 2.7: windows lie tau_m - tau_r in the past, which is the mean lag of a linear neuron."""
    taus = ((1.2, 0.2), (0.6, 0.2), (1.2, 1.2), (2.4, 0.1))
    weights = [jnp.array([[2.0, -1.0]]), *[jnp.ones((1, 1))] * 3]
    layers = [
        gle.Layer(gle.Dense(weight, jnp.ones(1)), *tau, gle.linear) for weight, tau in zip(weights, taus, strict=True)
    ]
    fields = receptive_fields(gle.Network(layers, gle.MeanSquaredError()), duration=60.0, dt=0.1)
    t, lag = np.arange(600) * 0.1, WIDTH
    for field, (tau_m, tau_r) in zip(fields, taus, strict=True):
        lag += tau_m - tau_r
        area = 0.1 * field.sum(axis=1)[:, 0]
        np.testing.assert_allclose(area, [2, -1], rtol=1e-5)
        np.testing.assert_allclose(0.1 * (t[:, None] * np.asarray(field)[0]).sum() / area[0], lag, rtol=1e-4)
