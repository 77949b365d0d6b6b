"""One contract for every kernel, escape rate, order, pairing, transport and twin: what a user of JAX may expect."""

import pathlib

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal

AGES = np.array([-1.0, 0.0, 0.5, 1.0, 2.5, 4.0])
KERNELS = {
    "rectangular": (lambda tau: sal.Rectangular(tau, longest=4.0), False),
    "triangular": (lambda tau: sal.Triangular(tau, longest=4.0), True),
    "exponential": (lambda tau: sal.Exponential(tau, 0.5), True),
    "alpha": (lambda tau: sal.Alpha(tau, 2.0), True),
    "double exponential": (lambda tau: sal.DoubleExponential(1.0, tau, 2.0), True),
}
"""A kernel by its time constant, and whether it can be differentiated by it."""
TAUS = np.array([1.3, 2.0, 3.7])
ESCAPES = (sal.ExponentialEscape(), sal.LogisticEscape())
ORDERS = (sal.Parallel(), sal.Sweep())


@pytest.fixture(autouse=True)
def _count_traces_anew():
    chex.clear_trace_counter()


def response(make, tau, dtype=jnp.float32):
    """The kernel, and the trace after spikes at 0 and 2 in steps of 1, half a step after the last."""
    kernel = make(tau)
    trace = kernel.init((1,), 2.0)
    for spike in (1.0, 0.0, 1.0, 0.0):
        trace = kernel.update(trace, jnp.array([spike], dtype), 1.0)
    return jnp.concatenate([kernel(jnp.asarray(AGES, dtype)), kernel.read(trace, 0.5, 1.0)])


@pytest.mark.parametrize("name", KERNELS)
def test_kernels(name, precision):
    make, smooth = KERNELS[name]
    tolerance = 1e-5 if precision == jnp.float32 else 1e-12
    taus = jnp.asarray(TAUS, precision)
    one_by_one = jnp.stack([response(make, float(tau), precision) for tau in TAUS])
    assert one_by_one.dtype == precision
    # The trace is the sum of the kernel over the spikes, 1.5 and 3.5 ago.
    kernel = make(float(TAUS[1]))
    expected = jnp.sum(kernel(jnp.array([1.5, 3.5], precision)))
    np.testing.assert_allclose(one_by_one[1, -1], expected, rtol=tolerance)
    compiled = jax.jit(chex.assert_max_traces(lambda tau: response(make, tau, precision), 1))
    np.testing.assert_allclose(jnp.stack([compiled(tau) for tau in taus]), one_by_one, rtol=tolerance)
    batched = jax.vmap(lambda tau: response(make, tau, precision))(taus)
    np.testing.assert_allclose(batched, one_by_one, rtol=tolerance)
    if smooth:
        slope = jax.jacfwd(lambda tau: response(make, tau, precision))(taus[0])
        chex.assert_tree_all_finite(slope)
        h = 1e-2 if precision == jnp.float32 else 1e-5
        difference = (response(make, taus[0] + h, precision) - response(make, taus[0] - h, precision)) / (2 * h)
        np.testing.assert_allclose(slope, difference, rtol=1e-2, atol=1e-2 if precision == jnp.float32 else 1e-8)
    with pytest.raises(ValueError, match=r"must be positive, got -1\.0"):
        make(-1.0)


def test_close_time_constants_do_not_cancel():
    """In float32, with time constants apart by one part in 1e5, and with equal ones."""
    age = np.array([0.25, 1.0, 5.0])
    for rise, decay in ((2.0, 2.0 * (1 + 1e-5)), (2.0, 2.0)):
        kernel = sal.DoubleExponential(rise, decay, 3.0)
        middle = (rise + decay) / 2
        exact = 3.0 * age / middle**2 * np.exp(-age / middle)  # to second order in the difference
        np.testing.assert_allclose(kernel(jnp.asarray(age, jnp.float32)), exact, rtol=1e-6)
        trace = kernel.update(kernel.init((), 1.0), jnp.float32(1.0), 0.25)
        np.testing.assert_allclose(kernel.read(trace, 0.25, 0.25), exact[0], rtol=1e-6)
    slopes = jax.grad(lambda rise, decay: sal.DoubleExponential(rise, decay, 3.0)(jnp.float32(1.0)), (0, 1))(2.0, 2.0)
    # By symmetry either has half of the derivative of the alpha function, 3 s exp(-s / tau) (s - 2 tau) / tau^4.
    np.testing.assert_allclose(slopes, 2 * (3 * np.exp(-0.5) * (1 - 4) / 16 / 2,), rtol=1e-5)


def test_windows_end_where_they_end_however_long():
    """1e6 steps of 1: the window ends at tau, not some steps later."""
    kernel = sal.Rectangular(1e6)
    np.testing.assert_array_equal(kernel(jnp.array([1e6, 1e6 + 4.0], jnp.float32)), [1.0, 0.0])


def build(weight, bias, tau):
    return sal.Network(sal.Recurrent(weight), bias, 2.0, trace=sal.Exponential(tau))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("escape", ESCAPES)
def test_stacked_networks_run_side_by_side(key, rng, escape, order):
    weights, biases = jnp.asarray(rng.normal(size=(2, 3, 3)) / 3), jnp.asarray(rng.normal(size=(2, 3)) - 1)
    taus = jnp.array([1.5, 4.0])

    def make(weight, bias, tau):
        trace = sal.Exponential(tau)
        return sal.Network(sal.Recurrent(weight), bias, 2.0, trace=trace, escape=escape, order=order)

    def run(network):
        return sal.simulate(network, 20.0, dt=0.5, key=key, throw=False).spikes.spikes

    stacked = jax.vmap(make)(weights, biases, taus)
    together = jax.jit(jax.vmap(run))(stacked)
    alone = [run(make(*arguments)) for arguments in zip(weights, biases, taus, strict=True)]
    np.testing.assert_array_equal(together, alone)


def test_other_numbers_compile_nothing(key):
    """Eager calls: one program for any numbers that are no shape, Python's own as well."""
    seen = []

    def observe(snapshot):
        seen.append(None)  # once per trace
        return snapshot.z

    for tau in (1.5, 2.5, np.float32(3.0), jnp.float32(4.0)):
        network = build(jnp.zeros((2, 2)), jnp.zeros(2), float(tau))
        sal.simulate(network, 4.0, dt=0.5, key=key, observe=observe)
    assert len(seen) == 1
    sal.simulate(network, 5.0, dt=0.5, key=key, observe=observe)
    assert len(seen) == 2


@pytest.mark.parametrize("pairing", [sal.AllPairs(), sal.LastPairs(), sal.NearestPairs()])
def test_stdp(pairing, precision, rng):
    spikes = sal.Raster(jnp.asarray(rng.random((30, 3)) < 0.3, precision), 1.0)

    def sums(tau, stop=30):
        stdp = sal.STDP(sal.Exponential(tau), sal.Exponential(tau), 1.0, pairing, sal.Shared())
        part = sal.Raster(spikes.spikes[:stop], 1.0)
        return stdp.update(stdp.init((3,), (3,)), part, part)[0].causal

    taus = jnp.asarray(TAUS, precision)
    alone = jnp.stack([sums(float(tau)) for tau in TAUS])
    assert alone.dtype == precision
    compiled = jax.jit(chex.assert_max_traces(sums, 1))
    tolerance = 1e-5 if precision == jnp.float32 else 1e-12
    np.testing.assert_allclose(jnp.stack([compiled(tau) for tau in taus]), alone, rtol=tolerance)
    np.testing.assert_allclose(jax.vmap(sums)(taus), alone, rtol=tolerance)
    chex.assert_tree_all_finite(jax.jacfwd(sums)(taus[0]))


def two_alpha_neurons(tau):
    return sal.two_neurons((0.5, 1.0), (0.0, 0.2), sal.Alpha(tau, 2.0), 2.0)


def test_theory_by_the_time_constant(x64):
    """dE[update] / d tau of window and PSP, against central differences; one program for all."""

    def drift(tau):
        found = sal.steady_state(two_alpha_neurons(tau), dt=1.0, states=30).differences
        return sal.expected_update(found, sal.Exponential(tau), lags=40)

    compiled = jax.jit(drift)
    slope = jax.jit(jax.jacfwd(drift))(1.0)
    np.testing.assert_allclose(slope, (compiled(1 + 1e-5) - compiled(1 - 1e-5)) / 2e-5, rtol=1e-7)
    with pytest.raises(TypeError, match="states must be given"):
        jax.jit(lambda tau: sal.steady_state(two_alpha_neurons(tau), dt=1.0).rates)(1.0)


MODULES = {
    "network": lambda: build(jnp.ones((2, 2)), jnp.ones(2), 3.0),
    "layered": lambda: sal.Layered([jnp.ones((2, 3))], [jnp.ones((2, 3))]),
    "state": lambda: build(jnp.ones((2, 2)), jnp.ones(2), 3.0).init(0.5),
    "boltzmann": lambda: sal.Boltzmann(jnp.zeros((2, 2)), jnp.ones(2)),
    "raster": lambda: sal.Raster(jnp.ones((3, 2)), 0.5),
    "stdp": lambda: sal.STDP(sal.Rectangular(2.0), sal.Exponential(2.0), 2.0, coincidence=sal.one_by_one(2)),
    "SALNet": lambda: sal.SALNet(jnp.float32(0.1)),
    "RDDNet": lambda: sal.RDDNet(),
    "fixed": lambda: sal.Fixed(jnp.ones((2, 3))),
    "kolen pollack": lambda: sal.KolenPollack(jnp.ones((2, 3))),
    "sign concordant": lambda: sal.SignConcordant(jnp.ones((2, 3))),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_pass_jit_and_disk(name, tmp_path):
    """Plain `jax.jit` takes every module, static settings come back, and so do saved ones."""
    module = MODULES[name]()
    back = jax.jit(lambda module: module)(module)
    assert jax.tree.structure(back) == jax.tree.structure(module)
    eqx.tree_serialise_leaves(tmp_path / "module.eqx", module)
    like = jax.tree.map(lambda x: jnp.zeros_like(x) if eqx.is_array(x) else type(x)(), module)
    loaded = eqx.tree_deserialise_leaves(tmp_path / "module.eqx", like)
    chex.assert_trees_all_equal(loaded, module)


def test_sources_and_neurons(key):
    assert (MODULES["layered"]().sources, MODULES["layered"]().neurons) == (5, 5)
    assert (sal.Recurrent(jnp.zeros((4, 4))).sources, sal.Recurrent(jnp.zeros((4, 4))).neurons) == (4, 4)
    (layer,) = sal.with_feedback([eqx.nn.Linear(3, 2, key=key)], sal.Fixed, key=key)
    assert (layer.sources, layer.neurons) == (3, 2)


def test_no_name_is_that_of_a_module():
    files = {path.stem for path in pathlib.Path(sal.__file__).parent.glob("*.py")} - {"__init__"}
    assert not [name for name in files if callable(getattr(sal, name, None))]


def test_runs_under_shard_map(key):
    """Replicas over a mesh of devices, at the defaults of `jax.shard_map`: simulation, learning, errors as without."""
    window = sal.Triangular(3.0)
    rule = sal.align(1.0, sal.STDP(window, window, 2.0), replicas=(2,))
    weight = jnp.array([[0.0, 1.0], [-1.0, 0.0]])

    def learned(keys):
        def one(key):
            net = sal.Network(sal.Recurrent(weight), jnp.zeros(2), 2.0)
            return sal.simulate(net, 12.0, dt=1.0, key=key).spikes

        spikes = jax.vmap(one, out_axes=1)(keys)
        return rule.update(jnp.zeros_like(weight), rule.init(weight), pre=spikes, post=spikes)[0]

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("replicas",))
    along = jax.sharding.PartitionSpec("replicas")
    keys = jax.random.split(key, 2)
    sharded = jax.shard_map(lambda keys: learned(keys)[None], mesh=mesh, in_specs=along, out_specs=along)
    expected = jax.jit(learned)(keys)
    assert np.any(expected != 0)
    np.testing.assert_allclose(jax.jit(sharded)(keys)[0], expected, rtol=1e-6)
    wrong = jax.shard_map(sal.distribution_moments, mesh=mesh, in_specs=along, out_specs=along)
    with pytest.raises(Exception, match="must sum to one"):
        jax.block_until_ready(jax.jit(wrong)(jnp.array([0.5, 1.0])))
