"""The cards of latent equilibrium."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.latent_equilibrium.figures import draw
from benchmarks.experiments.gle.latent_equilibrium.model import (
    Dense,
    LatentEquilibriumTraining,
    LeNet5,
    Subset,
    latent_equilibrium,
)

DENSE = Card(
    name="gle-le-mnist",
    config=Dense,
    function=latent_equilibrium,
    training=LatentEquilibriumTraining,
    figures=draw,
    published=(Published("test_accuracy", 0.9802, 0.0011, source="Haider et al. 2021, 1.98 % error"),),
)
LENET = Card(
    name="gle-le-lenet5",
    config=LeNet5,
    function=latent_equilibrium,
    training=LatentEquilibriumTraining,
    figures=draw,
)
SUBSET = Card(
    name="gle-le-cifar",
    config=Subset,
    function=latent_equilibrium,
    training=LatentEquilibriumTraining,
    figures=draw,
)
CARDS = (DENSE, LENET, SUBSET)
