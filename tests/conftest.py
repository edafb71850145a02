import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def taken_cores():
    """A run that is not told its threads takes one: how many cores were free would change its last digits,
    and runs are compared bit for bit here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("menon.threads.busy_cores", lambda: float(os.cpu_count() or 1))
        yield


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory):
    """What the user of these tests has named (`assembly.trust`) is not the user's of this machine."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def shared() -> Path:
    """Data sets and golden vectors beside the checkout; a test that wants them skips without them."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return SHARED
