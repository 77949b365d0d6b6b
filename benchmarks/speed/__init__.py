"""How fast a training step is, beside other packages, and how it scales; see docs/results/speed.md."""
