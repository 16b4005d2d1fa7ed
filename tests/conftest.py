"""Settings and fixtures for the whole suite."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the network by accident
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

hypothesis.settings.register_profile("netatlas", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("netatlas")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """Every test has a user's atlas and a cache of its own."""
    monkeypatch.setenv("NETATLAS_HOME", str(tmp_path_factory.mktemp("home")))
