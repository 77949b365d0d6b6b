"""Networks of other makes, to compare with, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("mnist1d-mlp", "MNIST-1D baseline: a perceptron on whole sequences.", f"{__name__}.mnist1d.card"),
    Listed("mnist1d-tcn", "MNIST-1D baseline: a temporal convolutional network.", f"{__name__}.mnist1d.card"),
    Listed("mnist1d-gru", "MNIST-1D baseline: bidirectional gated recurrent units.", f"{__name__}.mnist1d.card"),
    Listed("speech-mlp", "Speech Commands, reduced: a perceptron on whole clips.", f"{__name__}.speech.card"),
    Listed("speech-tcn", "Speech Commands, reduced: temporal convolutions.", f"{__name__}.speech.card"),
    Listed("speech-gru", "Speech Commands, reduced: gated recurrent units.", f"{__name__}.speech.card"),
    Listed("speech-lstm", "Speech Commands, reduced: long short-term memories.", f"{__name__}.speech.card"),
    Listed("yinyang-ann", "Baseline: a perceptron 4-30-3.", f"{__name__}.yinyang.card"),
    Listed(
        "yinyang-frozen",
        "Baseline: a perceptron 4-30-3, hidden layer frozen.",
        f"{__name__}.yinyang.card",
    ),
    Listed("yinyang-shallow", "Baseline: no hidden layer.", f"{__name__}.yinyang.card"),
)
