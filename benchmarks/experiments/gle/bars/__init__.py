"""Bars of three directions, by the dendritic microcircuit."""
