"""Experiments of the package eventprop, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("eventprop-yinyang", "Yin-Yang, 5-200-3, first-spike loss (later recipe).", f"{__name__}.yinyang.card"),
    Listed("eventprop-yinyang-paper", "Yin-Yang, 5-200-3, the paper's recipe.", f"{__name__}.yinyang.card"),
    Listed("eventprop-yinyang-delays", "Yin-Yang, 5-30-3, with delays that learn.", f"{__name__}.yinyang.card"),
    Listed(
        "eventprop-yinyang-recurrent",
        "Yin-Yang, 5-30-3, recurrent hidden layer.",
        f"{__name__}.yinyang.card",
    ),
    Listed("eventprop-mnist", "MNIST, 784-350-10, largest potential of each readout.", f"{__name__}.mnist.card"),
    Listed(
        "eventprop-match-to-sample",
        "Match to sample after a delay, EventProp.",
        f"{__name__}.match_to_sample.card",
    ),
    Listed(
        "eventprop-match-to-sample-surrogate",
        "Match to sample, surrogates.",
        f"{__name__}.match_to_sample.card",
    ),
    Listed("eventprop-gradient-check", "Exact gradient beside central differences.", f"{__name__}.gradient_check.card"),
)
