"""The cards of the sampling networks."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.sampling.figures import draw
from benchmarks.experiments.sal.sampling.model import (
    PlasticityNoise,
    SamplingTraining,
    SynapticNoise,
    WeightDecay,
    sampling,
)


def median(name: str, value: float, source: str) -> Published:
    """One of the paper's medians over 20 runs."""
    return Published(name, value, seeds=20, source=source, higher_is_better=False)


SYNAPTIC = Card(
    name="sal-synaptic-noise",
    config=SynapticNoise,
    function=sampling,
    training=SamplingTraining,
    figures=draw,
    published=(
        median("kl_sal_0.8", 0.102, "authors' code, 1500 epochs"),
        median("kl_none_0.8", 0.214, "authors' code, 1000 epochs"),
        median("asymmetry_sal_0.8", 0.053, "authors' code, 1500 epochs"),
        median("asymmetry_none_0.8", 0.918, "authors' code"),
    ),
)
PLASTICITY = Card(
    name="sal-plasticity-noise",
    config=PlasticityNoise,
    function=sampling,
    training=SamplingTraining,
    figures=draw,
    published=(
        median("asymmetry_sal_0.05", 0.004, "authors' code, 800 epochs"),
        median("asymmetry_none_0.05", 0.088, "authors' code, 800 epochs"),
    ),
)
DECAY = Card(name="sal-weight-decay", config=WeightDecay, function=sampling, training=SamplingTraining, figures=draw)
CARDS = (SYNAPTIC, PLASTICITY, DECAY)
