"""Installed libraries as sources of entries."""
