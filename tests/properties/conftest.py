"""A folder for the files of all examples of a test; Hypothesis does not allow a fixture for each call."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")
