"""What became of a run."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
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
        "there is none, or it is too far away. Lower gamma or beta, or use gle.Decoupled(). (Of gle.LeastAction: "
        "its energy is no longer convex. Lower weights or the learning rate.) Nothing was learned from this stream."
    )
    no_equilibrium = (
        "No state was found in which a constant input and target leave the system: it is unstable or its numbers "
        "overflow, such as a microcircuit whose loop through apical dendrites and interneurons amplifies: lower the "
        "weights."
    )
    non_finite = (
        "The network or its state became NaN or infinite: lower the learning rate, beta or gamma. Nothing was learned "
        "from this stream."
    )


def raise_if(tree: PyTree, condition: Bool[Array, "..."], reason: RESULTS | str) -> PyTree:
    """`tree`, whose floats are computed under the condition that `condition` holds nowhere: else an error."""
    condition = jnp.any(condition)
    # An error must not depend on where in a mesh of devices it comes up.
    axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
    if axes:
        condition, reason = jax.tree.map(lambda x: lax.pmax(x, axes) if eqx.is_array(x) else x, (condition, reason))
    token = jnp.zeros((), jnp.int32)
    token = eqx.error_if(token, condition, reason) if isinstance(reason, str) else reason.error_if(token, condition)
    return jax.tree.map(lambda x: x + token.astype(x.dtype) if eqx.is_inexact_array(x) else x, tree)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether no floating-point leaf holds NaN or infinity."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
