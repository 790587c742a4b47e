"""Fixtures of all Python tests; helpers are in support.py."""
import pytest

import support


def pytest_addoption(parser):
    parser.addoption("--update-goldens", action="store_true", help="write golden files anew where output differs")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Device programs, profiles and packs, shared by the tests of one session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def flashmem(shared_cache):
    """The program under test with a cache of this session."""
    assert support.FLASHMEM.exists(), f"{support.FLASHMEM} is missing: build it, or set FLASHMEM_BUILD"
    return support.Program(shared_cache)


@pytest.fixture
def fresh(tmp_path):
    """The program under test with an empty cache of this test's own."""
    return support.Program(tmp_path / "cache")
