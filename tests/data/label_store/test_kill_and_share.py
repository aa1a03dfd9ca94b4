"""A store survives kill -9 at any moment, and two processes that write it at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_or_shared_store_is_that_of_one_run(tmp_path):
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill_and_share.py"), tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert all(found["died"][:10])
    assert sum(found["died"]) > 12
    assert found["codes"] == [0, 0], run.stderr[-2000:]
    assert found["files"] == 2 * 5 + 1
    assert all(found["equal"].values()), found["equal"]
    assert found["left"] == []
