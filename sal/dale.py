"""Dale's law: neurons that only excite or only inhibit (Gierlich et al., sections 2.5, 4.6)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from sal._mesh import error_if
from sal._numbers import as_bools, as_float
from sal.connectivity import Recurrent
from sal.escape import AbstractEscape, LogisticEscape
from sal.network import Network
from sal.order import AbstractOrder, Sweep
from sal.rules import absent, path_name

Number = float | Float[Array, "..."]


def effective_weight(
    direct: Number, indirect: Number, recruiting: Number, bias: Number, bias_inhibitory: Number
) -> Float[Array, "..."]:
    """What an excitatory neuron does to another one, directly and through an inhibitory one, elementwise.

        W_eff = W_EE + W_EI sigma(W_IE r + b_I) / r,    r = sigma(b_E)                                   (Eq. 38)

    - `direct`: W_EE >= 0, between the excitatory neurons.
    - `indirect`: W_EI <= 0, from the inhibitory neuron; `recruiting`: W_IE >= 0, to it.
    - `bias`, `bias_inhibitory`: b_E of the presynaptic excitatory and b_I of the inhibitory neuron.

    Exact for rates, for spikes an approximation. It may have either sign, and change it, under Dale's law.
    """
    named = {
        "direct": direct,
        "indirect": indirect,
        "recruiting": recruiting,
        "bias": bias,
        "bias_inhibitory": bias_inhibitory,
    }
    w_ee, w_ei, w_ie, b_e, b_i = (as_float(f"effective_weight: {name}", x) for name, x in named.items())
    rate = jax.nn.sigmoid(b_e)
    return w_ee + w_ei * jax.nn.sigmoid(w_ie * rate + b_i) / rate


def dale_pair(
    direct: Sequence[Number] | Float[Array, "2"],
    tau_ref: float,
    *,
    indirect: Sequence[Number] | Float[Array, "2"] = (-1.0, -1.0),
    recruiting: Sequence[Number] | Float[Array, "2"] = (4.0, 4.0),
    bias: Sequence[Number] | Float[Array, "2"] = (0.0, 0.0),
    bias_inhibitory: Sequence[Number] | Float[Array, "2"] = (-2.0, -2.0),
    escape: AbstractEscape = LogisticEscape(),
    order: AbstractOrder = Sweep(),
) -> Network:
    """Two excitatory neurons, each with an inhibitory one on its way to the other (Fig. 9a).

    The neurons are E_1, I_1, E_2, I_2: swept in this order the ways from E_1 to E_2 and back take equally long. (With
    both inhibitory neurons at the end one would be a whole step longer, and SAL would see that.)

    - `direct`: (W_12^EE, W_21^EE), from E_2 to E_1 and back: `network.connectivity.weight` at [0, 2] and [2, 0].
    - `indirect`: (W_12^EI, W_21^EI), from I_2 to E_1 and from I_1 to E_2.
    - `recruiting`: (W_11^IE, W_22^IE), from E_1 to I_1 and from E_2 to I_2.
    - `bias`, `bias_inhibitory`: of E_1 and E_2, of I_1 and I_2.

    Raises `ValueError` for what is not two numbers and for weights that are known to have the wrong sign.
    """
    given = {
        "direct": direct,
        "indirect": indirect,
        "recruiting": recruiting,
        "bias": bias,
        "bias_inhibitory": bias_inhibitory,
    }
    pairs = {}
    for name, value in given.items():
        if len(value) != 2:
            raise ValueError(f"dale_pair: {name} must be two numbers, got {value}")
        pairs[name] = as_float(f"dale_pair: {name}", jnp.stack([jnp.asarray(x, float) for x in value]))
    w_ee, w_ei, w_ie = (pairs[name] for name in ("direct", "indirect", "recruiting"))
    weight = jnp.zeros((4, 4), w_ee.dtype)
    weight = weight.at[(0, 2), (2, 0)].set(w_ee).at[(0, 2), (3, 1)].set(w_ei).at[(1, 3), (0, 2)].set(w_ie)
    weight = _checked("dale_pair: direct, indirect, recruiting", weight, EXCITATORY, weight)
    weights = Recurrent(weight, jnp.asarray(SYNAPSES))
    biases = jnp.stack([pairs["bias"], pairs["bias_inhibitory"]], axis=1).ravel()
    return Network(weights, biases, tau_ref, escape=escape, order=order)


EXCITATORY = np.array([True, False, True, False])
"""Which neurons of `dale_pair` excite."""
SYNAPSES = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], bool)
"""Where it has synapses, [post, pre]."""


class SignsState(NamedTuple):
    """Nothing but whether the first parameters obeyed Dale's law."""

    checked: Int[Array, ""]


def keep_signs(excitatory: PyTree) -> optax.GradientTransformation:
    """Keeps weights on their source's side of zero, as Dale's law wants. Stands last in `optax.chain`.

        optimiser = optax.chain(optax.adam(1e-3), sal.align(...), sal.keep_signs(excitatory))
        updates, state = optimiser.update(gradients, state, params, pre=..., post=...)      # it needs the parameters

    W_ij + update becomes the nearest weight that the source j can have: max(W_ij + update, 0) if it excites,
    min(W_ij + update, 0) if it inhibits. A weight at zero is not stuck: it leaves as soon as its update points to its
    own side.

    - `excitatory`: bools, one per source [sources] (True excites, False inhibits), for all parameters that the mask,
        `optax.masked(sal.keep_signs(...), mask)`, leaves; or a pytree of them in the structure of the parameters, None
        where no law holds.

    Raises `ValueError` for parameters that break the law from the beginning (when `init` is run, where values are not
    known before), for parameters that are no weights [neurons, sources], and where `update` is called without any.
    """

    def init(params: PyTree) -> SignsState:
        checked = jnp.zeros((), jnp.int32)
        for path, weight, excites in _pairs(params, excitatory):
            if excites is not None and not absent(weight):
                checked = _checked(f"keep_signs: the weight {path_name(path)}", weight, excites, checked)
        return SignsState(checked)

    def update(updates: PyTree, state: SignsState, params: PyTree = None):
        if params is None:
            raise ValueError("keep_signs needs the parameters: optimiser.update(gradients, state, params).")
        structure = jax.tree.structure(updates, is_leaf=absent)
        values = structure.flatten_up_to(params)
        new = [
            change if excites is None or absent(change) else _projected(change, value, excites)
            for (_, change, excites), value in zip(_pairs(updates, excitatory), values, strict=True)
        ]
        return structure.unflatten(new), state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _projected(change: Any, value: Any, excites: Any) -> Array:
    change = as_float("keep_signs: an update", change)
    back = -jnp.asarray(value, change.dtype)
    return jnp.where(excites[None], jnp.maximum(change, back), jnp.minimum(change, back))


def _pairs(tree: PyTree, excitatory: PyTree) -> list[tuple[Any, Any, Any]]:
    """Path, leaf and bools of each parameter, whose shape must fit them."""
    leaves, structure = jax.tree.flatten_with_path(tree, is_leaf=absent)
    bare = isinstance(excitatory, np.ndarray | jax.Array | list | tuple) and np.ndim(excitatory) == 1
    if bare:
        laws = [excitatory] * len(leaves)
    else:
        try:
            laws = structure.flatten_up_to(excitatory)
        except ValueError as error:
            raise ValueError(
                "keep_signs: excitatory must be bools [sources], or a pytree of them in the structure of the "
                f"parameters (None where no law holds). It does not fit: {error}"
            ) from error
    found = []
    for (path, leaf), law in zip(leaves, laws, strict=True):
        if law is not None and not absent(leaf):
            law = as_bools("keep_signs: excitatory", np.asarray(law) if isinstance(law, list | tuple) else law)
            if np.ndim(leaf) != 2 or np.shape(law) != np.shape(leaf)[1:]:
                raise ValueError(
                    f"keep_signs: the parameter {path_name(path)} must be a weight [neurons, sources] with as many "
                    f"sources as excitatory has entries, got the shapes {np.shape(leaf)} and {np.shape(law)}; give "
                    "None there, or leave it out with optax.masked(sal.keep_signs(...), mask)"
                )
        found.append((path, leaf, law))
    return found


def _checked(where: str, weight: Any, excites: Any, tree: Any) -> Any:
    """`tree`, under the condition that all weights have the signs of their sources."""
    wrong = jnp.where(jnp.asarray(excites)[None], weight < 0, weight > 0)
    remedy = "excitatory sources (True) need weights >= 0, inhibitory ones (False) <= 0; start from such weights"
    seen = ""
    if not isinstance(wrong, Tracer) and np.any(wrong):
        post, pre = (int(x[0]) for x in np.nonzero(np.asarray(wrong)))
        kind = "excitatory" if np.asarray(excites)[pre] else "inhibitory"
        seen = f": {float(np.asarray(weight)[post, pre]):g} leads from the {kind} neuron {pre} to neuron {post}"
    return error_if(tree, jnp.any(wrong), f"{where} must obey Dale's law{seen}; {remedy}")
