"""Metrics and measured comparisons."""
