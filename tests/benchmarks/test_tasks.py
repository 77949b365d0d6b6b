import pickle

import jax
import numpy as np

from benchmarks._sweep.work import run
from benchmarks.tasks import Task

FILE = """
import dataclasses
import jax
from benchmarks import RESULTS

@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 1.0
    sizes: tuple[int, ...] = (1, 2)

def experiment(config: Config, key):
    return {"score": config.rate * jax.random.uniform(key) + sum(config.sizes)}, None, RESULTS.successful
"""


def make_task(tmp_path, **settings):
    (tmp_path / "mine.py").write_text(FILE)
    target = f"{tmp_path / 'mine.py'}:experiment"
    return Task(target, {"rate": 1.0, "sizes": [3, 4]}, {"rate": [1.0, 2.0, 3.0]}, [5, 6, 7], width=2, **settings)


def test_a_task_is_plain_data_that_any_process_can_run(tmp_path):
    task = pickle.loads(pickle.dumps(make_task(tmp_path)))
    outcome = pickle.loads(pickle.dumps(run(task)))
    expected = [rate * jax.random.uniform(jax.random.key(seed)) + 7 for rate, seed in ((1, 5), (2, 6), (3, 7))]
    np.testing.assert_allclose(outcome.metrics["score"], expected, rtol=1e-6)
    assert outcome.reasons == ["", "", ""]


def test_halves_have_all_members_in_order(tmp_path):
    first, second = make_task(tmp_path).halves()
    assert (first.seeds, second.seeds) == ([5, 6], [7])
    assert (first.traced, second.traced) == ({"rate": [1.0, 2.0]}, {"rate": [3.0]})
    assert first.config == second.config and first.width == second.width == 2
