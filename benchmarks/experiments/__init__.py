"""The experiments that the command line knows: a folder per package, and in it a folder per experiment.

`model.py` is the experiment, `figures.py` draws what a run has saved, `card.py` knows both. Figures import models,
cards import figures and models, and nothing imports the other way. Each package lists its own cards, so that names and
help cost no import.
"""

from benchmarks.experiments import baselines, eventprop, gle, hardware, sal
from benchmarks.registry import Registry

EXPERIMENTS = Registry(
    {
        "eventprop": eventprop.LISTED,
        "gle": gle.LISTED,
        "sal": sal.LISTED,
        "hardware": hardware.LISTED,
        "other networks": baselines.LISTED,
    }
)
