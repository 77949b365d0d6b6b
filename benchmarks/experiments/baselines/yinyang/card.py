"""The cards of Yin-Yang's own baselines."""

from benchmarks.card import Card, Published
from benchmarks.experiments.baselines.yinyang.model import Frozen, Shallow, Whole, YinYangBaseline, yinyang_baseline


def _card(name: str, config: type, mean: float, std: float) -> Card:
    source = Published("test_accuracy", mean, std, source="Kriener et al. 2022")
    return Card(name=name, config=config, function=yinyang_baseline, training=YinYangBaseline, published=(source,))


CARDS = (
    _card("yinyang-ann", Whole, 0.976, 0.015),
    _card("yinyang-frozen", Frozen, 0.855, 0.058),
    _card("yinyang-shallow", Shallow, 0.638, 0.010),
)
