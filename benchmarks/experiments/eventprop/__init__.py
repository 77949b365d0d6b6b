"""Experiments of the package eventprop."""
