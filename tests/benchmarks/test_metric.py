"""Declarations of metrics: splits, patterns, and what nothing may be chosen by."""

import jax
import pytest

from benchmarks import Card, Metric, Published
from benchmarks.metric import declaration, metrics_of, to_rank_by
from tests.benchmarks.toy import Toy

OWN = (Metric("kl_*", higher_is_better=False), Metric("kl_0", higher_is_better=True), Metric("spikes"))


def test_the_split_is_what_the_name_begins_with_unless_it_is_said():
    assert [Metric(name).split for name in ("train_loss", "validation_x", "test_accuracy", "smape", "untest_x")] == [
        "train", "validation", "test", None, None
    ]  # fmt: skip
    assert Metric("smape", split="test").split == "test" and Metric("test_x", split="train").split == "train"
    with pytest.raises(ValueError, match="split of metric 'x': 'dev' is none of train, validation, test"):
        Metric("x", split="dev")  # pyright: ignore[reportArgumentType]


def test_a_name_counts_more_than_a_pattern_and_standard_names_need_none():
    assert declaration(OWN, "kl_sal_0.8") is OWN[0] and declaration(OWN, "kl_0") is OWN[1]
    assert to_rank_by((), "validation_loss").higher_is_better is False
    assert to_rank_by((), "validation_accuracy").higher_is_better is True
    assert declaration(OWN, "score") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_accuracy", "no ranking by 'test_accuracy': choosing by the test set .* 'validation_accuracy'"),
        ("smape", "no ranking by 'smape': choosing by the test set"),
        ("spikes", "'spikes' is neither to be made large nor small"),
        ("score", r"whether 'score' shall be large or small is declared nowhere: .*Metric\('score', higher_is_better"),
    ],
)
def test_by_what_nothing_is_chosen(name, message):
    with pytest.raises(ValueError, match=message):
        to_rank_by((*OWN, Metric("smape", higher_is_better=False, split="test")), name)


def test_functions_and_cards_declare():
    def experiment(config: Toy, key: jax.Array):
        return {}, None, None

    assert metrics_of(experiment) == ()
    experiment.metrics = [Metric("score")]
    assert metrics_of(experiment) == (Metric("score"),)
    experiment.metrics = "score"
    with pytest.raises(ValueError, match=r"metrics: must be a tuple of benchmarks.Metric, but is 'score'"):
        metrics_of(experiment)
    with pytest.raises(ValueError, match="'toy' declares no metric 'score', which is published"):
        Card("toy", Toy, experiment, published=(Published("score", 1.0),))
