"""Bars of three directions, learned by the dendritic microcircuit."""
