"""What became of a run."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


class RESULTS(eqx.Enumeration):
    """The result of `online`, per network."""

    successful = ""
    unstable_step = (
        "dt is above the stability limit of the solver for the smallest time constant: lower dt, raise tau_m and "
        "tau_r, or keep learned time constants up with gle.at_least. See gle.largest_step."
    )
    invalid_step = "dt must be positive: it is the time between two entries of the stream."
    invalid_input = "The inputs or targets hold NaN or infinity: clean them. Nothing was learned from this stream."
    no_solution = (
        "Rates and errors found no common solution at some moment: with errors that act on the membranes (gle.Coupled) "
        "there is none, or it is too far away. Lower gamma or beta, or use gle.Decoupled(). Nothing was learned from "
        "this stream."
    )
    non_finite = (
        "The network or its state became NaN or infinite: lower the learning rate, beta or gamma. Nothing was learned "
        "from this stream."
    )


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether no floating-point leaf holds NaN or infinity."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
