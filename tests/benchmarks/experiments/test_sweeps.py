"""Every registered experiment can be swept over a float."""

import dataclasses

import jaxtyping
import numpy as np
import pytest

from benchmarks import datasets, sweep
from benchmarks._sweep.axes import field_type
from benchmarks._sweep.batch import RAISED, member_of
from benchmarks._sweep.target import as_target
from benchmarks.card import precision
from benchmarks.datasets import DataSet, Split
from benchmarks.experiments import EXPERIMENTS
from benchmarks.metric import Metric, declaration

MNIST1D = {"epochs": 1, "hidden": (4, 4, 4), "layers": 1, "batch_size": 20}
SAMPLING = {
    "units": 3,
    "levels": (0.2,),
    "cycles": 20,
    "report_every": 20,
    "sleep": 40.0,
    "validation": 40.0,
    "steps": 4,
}
SYMMNET = {"epochs": 1, "batch_size": 8, "replicas": 2, "sal_updates": 1, "sal_duration": 40.0}
YINYANG = {"epochs": 1, "hidden": 10, "batch_size": 10, "max_spikes": 4, "max_events": 20}
MNIST = {"epochs": 1, "hidden": 5, "batch_size": 10, "max_spikes": 4, "max_events": 20}
MATCH = {"epochs": 1, "steps": 1, "hidden": 5, "inputs": 3, "silence": 10.0, "response": 4.0, "batch_size": 8}
CHIP = {"epochs": 1, "hidden": 4, "batch_size": 50, "duration": 10.0, "t_max": 8.0}
PAL = {"epochs": 1, "hidden": 4, "batch_size": 2, "sal_duration": 20.0}
LATENT = {"epochs": 1, "batch_size": 10}
SMALL = {
    "eventprop-yinyang": ("learning_rate", YINYANG),
    "eventprop-yinyang-paper": ("bump", YINYANG),
    "eventprop-yinyang-delays": ("delay_rate", YINYANG),
    "eventprop-yinyang-recurrent": ("lateral_std", YINYANG),
    "eventprop-mnist": ("learning_rate", MNIST),
    "eventprop-match-to-sample": ("learning_rate", MATCH),
    "eventprop-match-to-sample-surrogate": ("steepness", MATCH),
    "eventprop-gradient-check": ("chain_weight", {"inputs": 5, "duration": 10.0, "max_spikes": 4}),
    "gle-bars": ("lower_rate", {"presentations": (1.0,), "epochs": 2, "blocks": 1, "hidden": 4}),
    "gle-phaseless": ("noise", {"sizes": (3, 4, 2), "presentations": 2, "replicas": 4}),
    "gle-pal-teacher": ("lower_rate", {"epochs": 1, "batches": 1, "batch_size": 2, "sal_duration": 20.0}),
    "gle-pal-yinyang": ("lower_rate", {**PAL, "samples": 4}),
    "gle-pal-mnist": ("pal_decay", {**PAL, "samples": 4}),
    "gle-autoencoder": ("learning_rate", {**PAL, "samples": 4, "presentation": 2}),
    "gle-completion": (
        "learning_rate",
        {"visible": 4, "free": 1, "hidden": 3, "duration": 50.0, "test_duration": 50.0, "epochs": 1},
    ),
    "gle-natural-gradient": ("natural_rate", {"inputs": 4, "seconds": 1, "epochs": 1}),
    "gle-speech": ("learning_rate", {"epochs": 1, "neurons": 2, "batch_size": 20}),
    "gle-chain": ("learning_rate", {"duration": 16.0, "batch_size": 2}),
    "gle-small": ("gle_rate", {"duration": 6.0, "spectrum_steps": 500}),
    "gle-trajectories": ("rate", {"periods": 1}),
    "gle-operators": ("tau_r", {"samples": 50, "periods": 2}),
    "gle-mnist1d": ("learning_rate", MNIST1D),
    "gle-mnist1d-paper": ("decay", MNIST1D),
    "gle-mnist1d-undelayed": ("learning_rate", MNIST1D),
    "gle-mnist1d-instantaneous": ("averaging", MNIST1D),
    "gle-lagnet": ("learning_rate", {**MNIST1D, "hidden": (4, 4)}),
    "gle-robustness": ("learning_rate", {**MNIST1D, "time_constants": (0.1,), "rates": (0.1,)}),
    "gle-scaling": ("learning_rate", {"widths": (4,), "depths": (2,), "epochs": 1, "batch_size": 20}),
    "gle-mackey-glass": (
        "learning_rate",
        {"sequences": 2, "hidden": (4, 4), "epochs": 1, "streams": 2, "passes": 1},
    ),
    "gle-alignment": ("learning_rate", MNIST1D),
    "gle-le-mnist": ("learning_rate", {**LATENT, "hidden": (8, 4)}),
    "gle-le-lenet5": ("learning_rate", {**LATENT, "hidden": (8, 4)}),
    "gle-le-cifar": ("learning_rate", {**LATENT, "hidden": (8, 4)}),
    "sal-pair": ("learning_rate", {"duration": 200, "replicas": 2}),
    "sal-distribution": ("largest", {"duration": 40}),
    "sal-stdd": ("high", {"pairs": 1, "replicas": 4, "duration": 5}),
    "sal-psp-shapes": ("largest_weight", {"steps": 3, "weights": 3, "biases": 2}),
    "sal-synaptic-noise": ("sal_rate", SAMPLING),
    "sal-plasticity-noise": ("learning_rate", SAMPLING),
    "sal-weight-decay": ("sal_rate", {**SAMPLING, "plasticity_levels": (0.05,), "decays": (1e-4,)}),
    **{
        f"sal-symmnet-{method}": ("learning_rate", SYMMNET)
        for method in ("bp", "bp-fa", "fa", "scfa", "sal", "kp", "rdd", "cifar")
    },
    "sal-dale": ("indirect", {"points": 3, "duration": 40, "learning": 100, "steps": 5}),
    "sal-images": ("learning_rate", {"hidden": 2, "epochs": 1, "cycles": 1, "chains": 2, "completion": 10}),
    "sal-microcircuit": (
        "lower_rate",
        {"epochs": 1, "presentation": 100.0, "average": 50.0, "inputs": 1, "sal_inputs": 1},
    ),
    "sal-transport": (
        "learning_rate",
        {
            "sizes": (4, 3, 2),
            "epochs": 1,
            "batches": 1,
            "pal_presentations": 1,
            "sal_duration": 20.0,
            "rdd_duration": 640.0,
        },
    ),
    "sal-alignment": ("duration", {"layers": (8, 6, 5, 4), "sal_rates": (0.1,), "epochs": 1, "replicas": 2}),
    "hardware-calibration": ("leak", {"circuits": 16}),
    "hardware-statistics": ("leak", {"circuits": 16}),
    "hardware-yinyang": ("learning_rate", CHIP),
    "hardware-yinyang-first": ("tau0", CHIP),
    "hardware-yinyang-delays": ("delay_rate", CHIP),
    "hardware-mnist": ("learning_rate", CHIP | {"duration": 10.2}),
    "mnist1d-mlp": ("learning_rate", {"epochs": 1}),
    "mnist1d-tcn": ("learning_rate", {"epochs": 1}),
    "mnist1d-gru": ("learning_rate", {"epochs": 1}),
    **{f"speech-{name}": ("learning_rate", {"epochs": 1}) for name in ("mlp", "tcn", "gru", "lstm")},
    "yinyang-ann": ("learning_rate", {"epochs": 1}),
    "yinyang-frozen": ("learning_rate", {"epochs": 1}),
    "yinyang-shallow": ("learning_rate", {"epochs": 1}),
}
"""A field to sweep over, and settings that make a small program."""
PER_VALUE = {"sal-alignment"}
"""Those whose field has to be a number: one program per value."""
VARIANTS = (
    "sal-symmnet-",
    "gle-mnist1d-",
    "gle-le-",
    "gle-pal-",
    "gle-autoencoder",
    "mnist1d-",
    "sal-plasticity",
    "sal-weight",
    "gle-lagnet",
    "speech-",
    "yinyang-",
    "hardware-yinyang",
    "hardware-mnist",
)
"""Prefixes of programs that differ little from another one: of these, only the first is run, too."""
RUN = [name for name in SMALL if not name.startswith(VARIANTS)] + [
    next(name for name in SMALL if name.startswith(variant)) for variant in VARIANTS[:4]
]


def made_up(shape, classes=10, validation=20):
    """Noise with labels; a training split of a hundred samples."""
    generator = np.random.default_rng(0)

    def split(samples):
        return Split(generator.random((samples, *shape)), generator.integers(0, classes, samples).astype(np.int32))

    return DataSet("noise", tuple(map(str, range(classes))), split(100), split(validation), split(validation))


@pytest.fixture
def small_data(monkeypatch):
    """No files: what counts is the program."""
    monkeypatch.setattr(datasets.yinyang, "load", lambda: made_up((4,), classes=3, validation=200))
    monkeypatch.setattr(datasets.mnist1d, "load", lambda steps=40: made_up((steps,)))
    monkeypatch.setattr(datasets.speech_commands, "load", lambda: made_up((41, 32), classes=12))
    shapes = {"cifar10": (3, 32, 32)}
    monkeypatch.setattr(datasets, "load", lambda name: made_up(shapes.get(name, (28, 28))))


@pytest.fixture(autouse=True)
def without_type_checks():
    """Annotations of configurations say what users give; what a sweep puts there is traced."""
    checked = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", checked)


def small(name):
    card = EXPERIMENTS[name]
    field, settings = SMALL[name]
    return card, field, card.config(**settings)


def traced(card, config, fields):
    with precision(card.double):
        return member_of(as_target(card), config, fields)


def test_every_experiment_is_in_the_table():
    assert set(SMALL) == set(EXPERIMENTS)
    for name in SMALL:
        card, field, _ = small(name)
        assert field_type(card.config, field) is float


@pytest.mark.parametrize("name", SMALL)
def test_the_program_of_a_sweep_over_a_float_can_be_traced(name, small_data):
    card, field, config = small(name)
    member = traced(card, config, [] if name in PER_VALUE else [field])
    assert member.metrics
    declared = {metric: declaration(card.metrics, metric) for metric in member.metrics}
    assert None not in declared.values(), declared
    assert set(card.metrics) <= set(declared.values())
    if name in PER_VALUE:
        with pytest.raises(TypeError):
            traced(card, config, [field])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*compiled once per value:UserWarning")
@pytest.mark.parametrize("name", RUN)
def test_sweeps_over_a_float_run(name, small_data):
    card, field, config = small(name)
    value = getattr(config, field)
    card = dataclasses.replace(card, metrics=(Metric("*", higher_is_better=True, split="train"),))
    metric = traced(card, config, []).metrics[0]
    result = sweep(card, config, over={field: (value, 1.1 * value + 1e-6)}, seeds=1, metric=metric, progress=False)
    assert not result.missing
    raised = [failure.reason for failure in result.failures if failure.reason.startswith(RAISED)]
    assert not raised
