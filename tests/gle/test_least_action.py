"""Neuronal least action: the decay of dE/du, right values, backpropagation as nudging vanishes, plasticity."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle

W = 0.5 * np.sin(1 + 6 * np.arange(6)[:, None] + np.arange(6)[None])
RECURRENT = W * (1 - np.eye(6))
U0 = np.array([0.5, -0.5, 0.2, 0.1, -0.2, 0.3])
WIN = np.array([[1.0, -1.0, 0.5, 0.0, 0.0, 0.0]]).T


def clamps(t):
    return jnp.stack([0.5 * jnp.cos(2 * jnp.pi * t / 30), -0.3 * jnp.sin(2 * jnp.pi * t / 40)])


def wave(t):
    return jnp.sin(2 * jnp.pi * t / 50)[None]


def recurrent(**options):
    return gle.LeastAction(RECURRENT, WIN, jax.nn.sigmoid, tau=10.0, beta=[0.1, 0.1], **options)


def test_right_values_and_the_decay_of_the_force(x64):
    """|dE/du| falls by exactly exp(-t/tau), whatever input and targets do."""
    system, times = recurrent(), jnp.asarray([0.0, 5.0, 10.0])
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(system.vector_field),
        diffrax.Tsit5(),
        0.0,
        10.0,
        0.1,
        jnp.asarray(U0),
        gle.Drive(wave, clamps),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(1e-10, 1e-10),
    )
    assert solution.ys is not None
    wanted = [0.88534606, -1.24750976, 0.35671105, -0.01936366, -0.05637909, 0.20837568]
    np.testing.assert_allclose(solution.ys[-1], wanted, atol=1e-8)
    force = [
        jnp.linalg.norm(jax.grad(system.energy)(u, wave(t), clamps(t))) for t, u in zip(times, solution.ys, strict=True)
    ]
    np.testing.assert_allclose(np.array(force) / force[0], np.exp(-np.array(times) / 10), rtol=1e-7)


def test_weak_nudging_is_backpropagation(x64):
    """2-3-2: dW1 / beta tends to the gradient, with an error proportional to beta."""
    first, second = 2 * RECURRENT[:3, :2], 2 * RECURRENT[:2, :3]
    weight, mask = np.zeros((5, 5)), np.zeros((5, 5), bool)
    weight[3:, :3], mask[3:, :3] = second, True
    into = np.concatenate([first, np.zeros((2, 2))])
    x, target = jnp.asarray([0.3, 0.9]), jnp.asarray([1.0, -0.5])

    def cost(first):
        return 0.5 * jnp.sum((target - second @ jax.nn.sigmoid(first @ x)) ** 2)

    exact, deviations = -jax.grad(cost)(jnp.asarray(first)), []
    moment = (jnp.concatenate([x, 0 * x]), jnp.concatenate([target, 0 * target]))
    for beta in (0.1, 0.01, 0.001):
        system = gle.LeastAction(weight, into, jax.nn.sigmoid, tau=10.0, beta=[beta, beta], mask=mask)
        u = system.equilibrium(*moment)
        gradient = system.plasticity(system.signals(u, *moment))
        found = -gradient.input_weight[:3] / beta
        deviations.append(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact))
        np.testing.assert_array_equal(gradient.weight[:3], 0)
    np.testing.assert_allclose(deviations, [0.0891, 0.00969, 0.000977], rtol=1e-2)
    np.testing.assert_allclose(found[0], [-0.05263942, -0.15791827], atol=1e-7)


def test_plasticity_is_the_derivative_of_the_energy(x64):
    """Central differences in W, W_in and b at a state that is no minimum."""
    system = recurrent(bias=0.1 * np.arange(6.0))
    x, target = jnp.asarray([0.4]), jnp.asarray([0.5, -0.2])
    now = system.signals(jnp.asarray(U0), jnp.concatenate([x, x]), jnp.concatenate([target, target]))
    gradient = system.plasticity(now)
    for name in ("weight", "input_weight", "bias"):
        value = jnp.asarray(getattr(system, name))
        for index in ((0,) * value.ndim, (-1,) * value.ndim):

            def energy(step, name=name, value=value, index=index):
                other = eqx.tree_at(lambda s: getattr(s, name), system, value.at[index].add(step))
                return other.energy(jnp.asarray(U0), x, target)

            slope = (energy(1e-5) - energy(-1e-5)) / 2e-5
            np.testing.assert_allclose(getattr(gradient, name)[index], slope, rtol=1e-7)


def test_it_is_a_prospective_neuron(x64):
    """The second form: tau u' = -u + W (rho + tau rho') + W_in (x + tau x') + e with e = ebar + tau ebar'."""
    system, t, tau = recurrent(), jnp.asarray(3.0), 10.0
    slope = system.vector_field(t, jnp.asarray(U0), gle.Drive(wave, clamps))
    at = lambda s: (U0 + s * slope, wave(t + s), clamps(t + s))  # noqa: E731
    look_ahead = lambda f: sum(jax.jvp(f, (jnp.asarray(0.0),), (jnp.asarray(tau),)))  # noqa: E731

    def back(s):
        u, x, target = at(s)
        rho, pull = jax.vjp(jax.nn.sigmoid, u)
        del rho
        nudged = jnp.zeros(6).at[-2:].set(0.1 * (target - u[-2:]))
        return pull(jnp.asarray(RECURRENT).T @ system.mismatch(u, x))[0] + nudged

    drive = look_ahead(lambda s: jax.nn.sigmoid(at(s)[0]) @ RECURRENT.T + at(s)[1] @ WIN.T)
    np.testing.assert_allclose(tau * slope, -U0 + drive + look_ahead(back), atol=1e-12)


@pytest.mark.slow
def test_streams_learn_online(x64):
    """A stream with slopes follows its target at once; what is not convex is told."""
    t = np.arange(400.0)
    x, target = np.stack([np.sin(t / 8)], 1), np.stack([0.4 * np.cos(t / 8), 0.3 * np.sin(t / 8)], 1)
    system = gle.LeastAction(RECURRENT, WIN, jax.nn.sigmoid, tau=10.0, beta=[1.0, 1.0])
    sgd = optax.sgd(0.05)
    streams = gle.with_slopes(jnp.asarray(x), 1.0), gle.with_slopes(jnp.asarray(target), 1.0)
    learner = gle.settle(gle.start(system, sgd), streams[0][0] * jnp.asarray([1.0, 0.0]))
    losses = []
    for _ in range(40):
        error = lambda network, signals: jnp.sum((signals.target - signals.output) ** 2)  # noqa: E731
        learner, observed, _ = gle.online(learner, *streams, dt=1.0, optimiser=sgd, observe=error)
        losses.append(float(observed.mean()))
    assert losses[-1] < 0.1 * losses[0]
    strong = gle.LeastAction(30 * W, WIN, jax.nn.sigmoid, tau=10.0, beta=[0.1])
    with pytest.raises(RuntimeError, match="not convex"):
        strong.signals(jnp.asarray(U0), jnp.ones(2))
    with pytest.raises(ValueError, match="bias must be of shape"):
        recurrent(bias=np.ones(5))
    with pytest.raises(ValueError, match=r"beta must be \[targets\]"):
        gle.LeastAction(RECURRENT, WIN, jax.nn.sigmoid, tau=10.0, beta=0.1)
