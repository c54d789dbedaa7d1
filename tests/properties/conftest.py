"""A folder for the files of all examples of a test, which a fixture of each call would keep from Hypothesis."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")
