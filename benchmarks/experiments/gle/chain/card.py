"""The card of the chain."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.chain.figures import draw
from benchmarks.experiments.gle.chain.model import Chain, gle_chain
from benchmarks.metric import Metric

METRICS = (
    Metric("*_train_loss", higher_is_better=False, split="train"),
    Metric("*weight_error", higher_is_better=False),
    Metric("*tau_m_error", higher_is_better=False),
)

CARDS = (
    Card(
        name="gle-chain",
        config=Chain,
        function=gle_chain,
        figures=draw,
        metrics=METRICS,
        published=(Published("train_loss", 1e-10, source="Ellenberger et al. 2024, Fig. 5c (order of magnitude)"),),
    ),
)
