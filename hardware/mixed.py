"""Parameters whose values differ between the model and the chip."""

from typing import Any

import equinox as eqx
import jax


class Mixed(eqx.Module):
    """One parameter with two values: gradients see `model`, the chip is calibrated to `hardware`.

        LIF(tau_mem=Mixed(6.0, 5.7), tau_syn=6.0)

    `Targets.of` and `Experiment`s read the chip's side, `in_the_loop` and `Ideal` the model's. A neuron that holds one
    can be simulated after `model_side(network)`; used as a number it raises ValueError.
    """

    model: Any
    hardware: Any

    def __jax_array__(self):
        raise ValueError(f"a parameter is {self}, of which only one value can be simulated: give model_side(network).")


def model_side(tree: Any) -> Any:
    """A network (or any pytree) with the model's value of each `Mixed` in its place."""
    return _side(tree, "model")


def hardware_side(tree: Any) -> Any:
    """A network (or any pytree) with the chip's value of each `Mixed` in its place."""
    return _side(tree, "hardware")


def _side(tree: Any, name: str) -> Any:
    def is_mixed(x):
        return isinstance(x, Mixed)

    return jax.tree.map(lambda x: getattr(x, name) if is_mixed(x) else x, tree, is_leaf=is_mixed)
