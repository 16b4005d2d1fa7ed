"""Indexes: vectors to the nearest of them."""
