"""The cards of the other makes."""

from benchmarks.card import Card, Published
from benchmarks.experiments.baselines.mnist1d.model import GRU, MLP, TCN, BaselineTraining, baseline


def _card(name: str, config: type, mean: float, std: float) -> Card:
    source = Published("test_accuracy", mean, std, seeds=10, source="Ellenberger et al. 2024, Table 2")
    return Card(name=name, config=config, function=baseline, training=BaselineTraining, published=(source,))


CARDS = (
    _card("mnist1d-mlp", MLP, 0.655, 0.010),
    _card("mnist1d-tcn", TCN, 0.967, 0.009),
    _card("mnist1d-gru", GRU, 0.940, 0.011),
)
