"""Traces that a least-action network completes from others."""
