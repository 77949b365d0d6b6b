import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gle
from tests.gle.networks import network, stream

infer = eqx.filter_jit(gle.infer)


def test_the_scan_equals_the_stepped_solution(key, precision, rng):
    net = network(key)
    inputs = jnp.asarray(stream(rng, 30, 2, 2, 3)[0], float)
    start = jax.tree.map(lambda u: 0.3 * jax.random.normal(key, u.shape), net.init((2,)))._replace(v=net.init((2,)).v)
    learner, stepped, _ = gle.online(gle.start(net, batch=(2,))._replace(state=start), inputs, dt=0.05)
    potentials, last = infer(net, inputs, dt=0.05, u=start.u)
    tolerance = 2e-5 if precision == np.float32 else 1e-13
    np.testing.assert_allclose(potentials, stepped, atol=tolerance)
    for found, expected in zip(last, learner.state.u, strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_a_trial_in_two_parts(key, x64, rng):
    net = network(key, (2, 4, 3))
    inputs, _ = stream(rng, 20, 2, 2, 3)
    whole, _ = infer(net, inputs, dt=0.05)
    first, middle = infer(net, inputs[:10], dt=0.05)
    second, _ = infer(net, inputs[10:], dt=0.05, u=middle)
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, atol=1e-13)
