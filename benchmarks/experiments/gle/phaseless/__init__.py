"""Feedback weights of a microcircuit that align themselves by noise."""
