"""The cards of the deep networks."""

import dataclasses

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.symmnet.figures import figure_7
from benchmarks.experiments.sal.symmnet.model import Subset, SymmNet, SymmNetTraining, symmnet
from benchmarks.metric import Metric

METRICS = (Metric("angle_*", higher_is_better=False),)


def _card(method: str, mean: float, std: float) -> Card:
    config = dataclasses.make_dataclass("SymmNet", [("method", str, method)], bases=(SymmNet,), frozen=True)
    config.__doc__ = f"Deep network, backward weights by {method} (Table 5)."
    published = Published("test_accuracy", mean, std, source="Gierlich et al., Table 5", epochs=200)
    return Card(
        name=f"sal-symmnet-{method.replace('_', '-')}",
        config=config,
        function=symmnet,
        training=SymmNetTraining,
        figures=figure_7,
        metrics=METRICS,
        published=(published,),
    )


CARDS = (
    _card("bp", 0.921, 0.001),
    _card("bp_fa", 0.915, 0.003),
    _card("fa", 0.900, 0.001),
    _card("scfa", 0.914, 0.002),
    _card("sal", 0.915, 0.002),
    _card("kp", 0.908, 0.003),
    _card("rdd", 0.915, 0.001),
    Card("sal-symmnet-cifar", Subset, symmnet, training=SymmNetTraining, figures=figure_7, metrics=METRICS),
)
