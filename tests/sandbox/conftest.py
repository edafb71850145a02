import pytest

from menon.errors import UserError
from menon.sandbox.launch import Pool
from menon.sandbox.layers import pool


@pytest.fixture(scope="session")
def full() -> Pool:
    """Sandboxes with all layers; a machine without them skips and says what it lacks."""
    try:
        return pool("full")
    except UserError as error:
        pytest.skip(str(error))
