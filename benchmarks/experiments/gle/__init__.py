"""Experiments of the package gle."""
