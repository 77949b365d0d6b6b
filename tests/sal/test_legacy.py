import jax
import pytest

import sal

TAU = 10.0
ALPHA = sal.Alpha(TAU / 3, TAU)
PUBLISHED = [
    # Their rectangular PSP ends a step early.
    (sal.Rectangular(TAU - 1), 20, 0.031274),
    (sal.Rectangular(TAU - 1), 30, 0.034245),
    (sal.Rectangular(TAU - 1), 40, 0.034845),
    (sal.Rectangular(TAU), 20, 0.028802),
    (sal.Rectangular(TAU), 30, 0.031840),
    (sal.Rectangular(TAU), 40, 0.032438),
    (ALPHA, 30, 0.028695),
]


@pytest.mark.parametrize(("psp", "states", "value"), PUBLISHED)
def test_the_authors_values(psp, states, value, x64):
    network = sal.two_neurons((0.5, 1.0), (0.0, 0.0), psp, TAU, order=sal.Parallel())
    differences = jax.jit(lambda: sal.published_differences(network, dt=1.0, states=states))()
    changes = sal.expected_update(differences, sal.Exponential(TAU))
    assert changes[0] == pytest.approx(value, abs=1e-5)
    assert changes[1] == pytest.approx(-value, abs=1e-5)
