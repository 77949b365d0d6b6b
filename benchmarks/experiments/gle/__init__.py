"""Experiments of the package gle, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("gle-chain", "A chain of two neurons learns weights and time constants.", f"{__name__}.chain.card"),
    Listed("gle-small", "Slow and fast paths learn their input weights.", f"{__name__}.small.card"),
    Listed(
        "gle-trajectories",
        "Costs along the path, by GLE and by adjoints.",
        f"{__name__}.trajectories.card",
    ),
    Listed("gle-operators", "Phases and gains of errors and adjoints.", f"{__name__}.operators.card"),
    Listed("gle-mnist1d", "MNIST-1D streams, learned online at every time step.", f"{__name__}.mnist1d.card"),
    Listed("gle-mnist1d-paper", "MNIST-1D streams, learned by the paper's recipe.", f"{__name__}.mnist1d.card"),
    Listed("gle-mnist1d-undelayed", "MNIST-1D streams, learned without delays.", f"{__name__}.mnist1d.card"),
    Listed("gle-mnist1d-instantaneous", "MNIST-1D by instantaneous errors.", f"{__name__}.mnist1d.card"),
    Listed("gle-lagnet", "MNIST-1D, fixed lag lines and latent equilibrium on top.", f"{__name__}.mnist1d.card"),
    Listed("gle-robustness", "MNIST-1D with noise in time constants or in rates.", f"{__name__}.robustness.card"),
    Listed("gle-scaling", "MNIST-1D, networks of several widths and depths.", f"{__name__}.scaling.card"),
    Listed("gle-mackey-glass", "Mackey-Glass series, learned and continued.", f"{__name__}.mackey_glass.card"),
    Listed("gle-alignment", "MNIST-1D, angles between GLE and the exact gradients.", f"{__name__}.alignment.card"),
    Listed("gle-speech", "Speech Commands, reduced: words learned online.", f"{__name__}.speech.card"),
    Listed("gle-bars", "Bars of three directions, by the dendritic microcircuit.", f"{__name__}.bars.card"),
    Listed("gle-phaseless", "Feedback weights of a microcircuit align by noise.", f"{__name__}.phaseless.card"),
    Listed("gle-pal-teacher", "One cell per layer mimics a teacher, five feedbacks.", f"{__name__}.pal.card"),
    Listed("gle-pal-yinyang", "Yin-Yang by microcircuits, feedback in five ways.", f"{__name__}.pal.card"),
    Listed("gle-pal-mnist", "MNIST by microcircuits, feedback in five ways.", f"{__name__}.pal.card"),
    Listed("gle-autoencoder", "Digits by two latent neurons, feedback in five ways.", f"{__name__}.autoencoder.card"),
    Listed("gle-completion", "Synthetic traces, completed by a least-action network.", f"{__name__}.completion.card"),
    Listed("gle-natural-gradient", "A neuron learns by natural gradients.", f"{__name__}.natural_gradient.card"),
    Listed("gle-le-mnist", "MNIST, dense layers in latent equilibrium.", f"{__name__}.latent_equilibrium.card"),
    Listed("gle-le-lenet5", "MNIST, LeNet-5 in latent equilibrium.", f"{__name__}.latent_equilibrium.card"),
    Listed("gle-le-cifar", "LeNet-5 on a subset of CIFAR-10.", f"{__name__}.latent_equilibrium.card"),
)
