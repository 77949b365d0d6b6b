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
from benchmarks.metric import Metric

METRICS = (
    Metric("kl_*", higher_is_better=False),
    Metric("asymmetry_*", higher_is_better=False),
)


def median(name: str, value: float, source: str) -> Published:
    """One of the paper's medians over 20 runs."""
    return Published(name, value, seeds=20, source=source)


SYNAPTIC = Card(
    name="sal-synaptic-noise",
    config=SynapticNoise,
    function=sampling,
    training=SamplingTraining,
    figures=draw,
    metrics=METRICS,
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
    metrics=METRICS,
    published=(
        median("asymmetry_sal_0.05", 0.004, "authors' code, 800 epochs"),
        median("asymmetry_none_0.05", 0.088, "authors' code, 800 epochs"),
    ),
)
DECAY = Card("sal-weight-decay", WeightDecay, sampling, training=SamplingTraining, figures=draw, metrics=METRICS)
CARDS = (SYNAPTIC, PLASTICITY, DECAY)
