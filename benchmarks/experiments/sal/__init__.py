"""Experiments of the package sal, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("sal-pair", "Two reciprocal weights align, in simulation and theory.", f"{__name__}.pair.card"),
    Listed("sal-distribution", "Spiking neurons sample a Boltzmann distribution.", f"{__name__}.distribution.card"),
    Listed("sal-stdd", "Simulated spike-timing differences pass a chi-square test.", f"{__name__}.stdd.card"),
    Listed("sal-psp-shapes", "How far alignment is off, by PSP shape and bias.", f"{__name__}.psp_shapes.card"),
    Listed("sal-synaptic-noise", "Sampling networks with asymmetric initial weights.", f"{__name__}.sampling.card"),
    Listed("sal-plasticity-noise", "Sampling networks with heterogeneous plasticity.", f"{__name__}.sampling.card"),
    Listed("sal-weight-decay", "Sampling networks, Kolen-Pollack's weight decay.", f"{__name__}.sampling.card"),
    Listed("sal-symmnet-bp", "Deep network, backward weights by bp (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-bp-fa", "Deep network, backward weights by bp_fa (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-fa", "Deep network, backward weights by fa (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-scfa", "Deep network, backward weights by scfa (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-sal", "Deep network, backward weights by sal (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-kp", "Deep network, backward weights by kp (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-rdd", "Deep network, backward weights by rdd (Table 5).", f"{__name__}.symmnet.card"),
    Listed("sal-symmnet-cifar", "Smoke test of the methods on a subset of CIFAR-10.", f"{__name__}.symmnet.card"),
    Listed("sal-dale", "SAL between neurons that only excite or only inhibit.", f"{__name__}.dale.card"),
    Listed("sal-images", "Hidden units learn bars and stripes, and complete them.", f"{__name__}.images.card"),
    Listed("sal-microcircuit", "A spiking microcircuit learns by SAL, BP and FA.", f"{__name__}.microcircuit.card"),
    Listed("sal-transport", "Seven ways to transport weights, on one network.", f"{__name__}.transport.card"),
    Listed("sal-alignment", "SAL in a spiking network with constant forward weights.", f"{__name__}.alignment.card"),
)
