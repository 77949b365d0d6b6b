"""Experiments of the package sal."""
