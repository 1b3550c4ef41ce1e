from __future__ import annotations

import subprocess
import sys


def test_memory_is_kept_in_a_process_of_its_own() -> None:
    code = "from vitrail.training.allocator import keep_freed_memory as k; print(type(k()).__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "bool"
