import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks._sweep import sweep
from tests.benchmarks.sweep.toy import loses_spikes

OVER = {"learning_rate": "1e-4:1e-2:log3", "momentum": "0.1,0.5"}
PROGRAM = """
import json, sys
import jax
from benchmarks._sweep import sweep
from tests.benchmarks.sweep.toy import loses_spikes

result = sweep(loses_spikes, over=json.loads(sys.argv[1]), seeds=3, chunk=4, progress=False)
print(json.dumps([jax.local_device_count(), result.metrics["validation_accuracy"].tolist(), result.failed().tolist()]))
"""


def test_four_devices_give_what_one_gives():
    # 18 members on four devices are chunks of 12 = 4 x 3, the last one padded.
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    command = [sys.executable, "-c", PROGRAM, json.dumps(OVER)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    devices, values, failed = json.loads(output.stdout.splitlines()[-1])
    one = sweep(loses_spikes, over=OVER, seeds=3, progress=False)
    assert devices == 4
    assert failed == one.failed().tolist() == [0, 3, 0, 3, 0, 3]
    np.testing.assert_allclose(values, one.metrics["validation_accuracy"], rtol=1e-6, equal_nan=True)
