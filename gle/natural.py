"""Natural-gradient plasticity of neurons with Poisson spikes (Kreutzer et al. 2022)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from gle.arrays import as_float, concrete


def fisher_moments(
    rate: Callable[[Array], Array], mean: Float[Array, "*shape"], variance: Float[Array, "*shape"], nodes: int = 32
) -> Float[Array, "3 *shape"]:
    """E_k = E[h^(k)(V)], k = 0, 1, 2, h = phi'^2 / phi, for potentials V ~ N(mean, variance), by Gauss-Hermite.

    `rate`: phi, smooth and positive, of one potential.
    """

    def h(v):
        return jax.grad(rate)(v) ** 2 / rate(v)

    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = jnp.asarray(weights / weights.sum(), mean.dtype)
    v = mean[..., None] + jnp.sqrt(variance)[..., None] * jnp.asarray(points, mean.dtype)
    orders = (h, jax.grad(h), jax.grad(jax.grad(h)))
    return jnp.stack([jnp.vectorize(order)(v) @ weights for order in orders])


def natural_gradient(
    rate: Callable[[Array], Array],
    mean: Float[Array | np.ndarray, " sources"],
    variance: Float[Array | np.ndarray, " sources"],
) -> optax.GradientTransformation:
    """From the gradient to the natural gradient of each neuron: G^-1 dE/dw of every row of weights [neurons, sources].

        G = E[(phi'^2/phi) x x^T] = E_0 (S + mu mu^T) + E_1 (mu (S w)^T + S w mu^T) + E_2 S w (S w)^T

    for inputs x ~ N(mu, S), S diagonal, and V = w . x; the inverse is that of a diagonal matrix and one of 2 x 2
    (Woodbury). The gradient of -log likelihood is -(Y - phi) phi'/phi x.

    - `rate`: phi, the intensity of the spikes as a function of the potential;
    - `mean`, `variance`: mu and S, of the inputs as they act on the potential. Weights that a dendrite attenuates by
        alpha see alpha mu and alpha^2 S, and their synapses act on the soma as if they sat there.

    Steps are the same, whatever the parametrisation of the weights is.

    Raises ValueError for variances that are not positive, and weights of another number of sources.
    """
    mean, variance = jnp.asarray(as_float("mean", mean)), jnp.asarray(as_float("variance", variance))
    if mean.ndim != 1 or mean.shape != variance.shape:
        raise ValueError(f"mean and variance must be [sources], but are {mean.shape} and {variance.shape}.")
    if concrete(variance) and not np.all(np.asarray(variance) > 0):
        raise ValueError("variance must be positive for every source: what is constant has no place in x ~ N(mu, S).")

    def of_a_neuron(gradient, w):
        total, spread = w @ mean, variance * w
        e0, e1, e2 = fisher_moments(rate, total, w @ spread)
        diagonal = e0 * variance
        u = jnp.stack([mean, spread], axis=1)
        middle = jnp.stack([jnp.stack([e0, e1]), jnp.stack([e1, e2])])
        small = jnp.eye(2, dtype=w.dtype) + middle @ (u.T @ (u / diagonal[:, None]))
        scaled = gradient / diagonal
        return scaled - (u @ jnp.linalg.solve(small, middle @ (u.T @ scaled))) / diagonal

    def transform(gradients: Any, params: Any) -> Any:
        def of_a_matrix(gradient, weight):
            if weight.ndim != 2 or weight.shape[1:] != mean.shape:
                raise ValueError(f"weights must be [neurons, {len(mean)}], but are {weight.shape}; use optax.masked.")
            return jax.vmap(of_a_neuron)(gradient, weight)

        return jax.tree.map(of_a_matrix, gradients, params)

    return optax.stateless(transform)
