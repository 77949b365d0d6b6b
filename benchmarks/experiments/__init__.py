"""The experiments that the command line knows, one file each."""

from benchmarks.card import Card
from benchmarks.experiments.baselines.mnist1d import model as mnist1d_baselines
from benchmarks.experiments.eventprop.gradient_check import model as eventprop_gradient_check
from benchmarks.experiments.eventprop.yinyang import model as eventprop_yinyang
from benchmarks.experiments.gle.alignment import model as gle_alignment
from benchmarks.experiments.gle.chain import model as gle_chain
from benchmarks.experiments.gle.latent_equilibrium import model as gle_latent_equilibrium
from benchmarks.experiments.gle.mackey_glass import model as gle_mackey_glass
from benchmarks.experiments.gle.mnist1d import model as gle_mnist1d
from benchmarks.experiments.gle.operators import model as gle_operators
from benchmarks.experiments.gle.robustness import model as gle_robustness
from benchmarks.experiments.gle.scaling import model as gle_scaling
from benchmarks.experiments.gle.small import model as gle_small
from benchmarks.experiments.sal.alignment import model as sal_alignment
from benchmarks.experiments.sal.pair import model as sal_pair
from benchmarks.experiments.sal.psp_shapes import model as sal_psp_shapes
from benchmarks.experiments.sal.sampling import model as sal_sampling
from benchmarks.experiments.sal.stdd import model as sal_stdd
from benchmarks.experiments.sal.symmnet import model as sal_symmnet

EXPERIMENTS: dict[str, Card] = {
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
