"""The experiments that the command line knows, one file each."""

from benchmarks.experiment import Experiment
from benchmarks.experiments import (
    eventprop_gradient_check,
    eventprop_yinyang,
    gle_alignment,
    gle_chain,
    gle_latent_equilibrium,
    gle_mackey_glass,
    gle_mnist1d,
    gle_operators,
    gle_robustness,
    gle_scaling,
    gle_small,
    mnist1d_baselines,
    sal_alignment,
    sal_pair,
    sal_psp_shapes,
    sal_sampling,
    sal_stdd,
    sal_symmnet,
)

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        eventprop_yinyang.LATER,
        eventprop_yinyang.PAPER,
        eventprop_gradient_check.CHECK,
        gle_chain.CHAIN,
        gle_mnist1d.MNIST_1D,
        gle_mnist1d.PAPER,
        gle_mnist1d.WITHOUT_DELAYS,
        gle_mnist1d.INSTANTANEOUS,
        gle_mnist1d.LAGNET,
        gle_robustness.ROBUSTNESS,
        gle_scaling.SCALING,
        gle_mackey_glass.MACKEY_GLASS,
        gle_operators.OPERATORS,
        gle_small.SMALL,
        gle_alignment.ALIGNMENT,
        gle_latent_equilibrium.DENSE,
        gle_latent_equilibrium.LENET,
        gle_latent_equilibrium.SUBSET,
        *mnist1d_baselines.BASELINES,
        sal_pair.PAIR,
        sal_stdd.SPIKE_TIMING,
        sal_psp_shapes.PSP_SHAPES,
        sal_sampling.SYNAPTIC,
        sal_sampling.PLASTICITY,
        sal_sampling.DECAY,
        *sal_symmnet.METHODS,
        sal_symmnet.SUBSET,
        sal_alignment.ALIGNMENT,
    )
}
