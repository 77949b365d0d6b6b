"""Networks of other makes, to compare with, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("mnist1d-mlp", "MNIST-1D baseline: a perceptron on whole sequences.", f"{__name__}.mnist1d.card"),
    Listed("mnist1d-tcn", "MNIST-1D baseline: a temporal convolutional network.", f"{__name__}.mnist1d.card"),
    Listed("mnist1d-gru", "MNIST-1D baseline: bidirectional gated recurrent units.", f"{__name__}.mnist1d.card"),
    Listed("yinyang-ann", "Yin-Yang baseline: a perceptron 4-30-3.", f"{__name__}.yinyang.card"),
    Listed(
        "yinyang-frozen",
        "Yin-Yang baseline: a perceptron 4-30-3 whose hidden layer stays as it was drawn.",
        f"{__name__}.yinyang.card",
    ),
    Listed("yinyang-shallow", "Yin-Yang baseline: no hidden layer.", f"{__name__}.yinyang.card"),
)
