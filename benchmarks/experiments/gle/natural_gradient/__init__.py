"""Neurons that learn by natural gradients, beside Euclidean ones."""
