"""Dendritic microcircuits whose feedback weights learn in five ways."""
