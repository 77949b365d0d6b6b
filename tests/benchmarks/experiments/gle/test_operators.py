import jax

from benchmarks.experiments.gle.operators.figures import draw_operators
from benchmarks.experiments.gle.operators.model import Operators, gle_operators


def test_errors_and_adjoints_agree_in_phase_and_have_inverse_gains(key, x64):
    """In phase also when they are simulated; then the gains have errors of first order in the time step."""
    coarse, fine = (jax.jit(lambda key, n=n: gle_operators(Operators(samples=n), key)[0])(key) for n in (200, 400))
    assert coarse["phase_deviation"] < 1e-14
    assert coarse["gain_product_deviation"] < 1e-14
    assert coarse["simulated_phase_deviation"] < 1e-13
    for name in ("simulated_error_deviation", "simulated_adjoint_deviation"):
        assert 1.9 < coarse[name] / fine[name] < 2.1


def test_the_figure_has_phases_and_gains():
    figure = draw_operators(Operators())
    assert len(figure.axes) == 8
