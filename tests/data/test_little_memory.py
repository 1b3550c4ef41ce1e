"""Pictures that do not fit into what memory there is: a limit on the address space stands in for a full machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attempts import Attempts
from hostile import png
from tiny import tiny_recipe

from vitrail.data import decode as module
from vitrail.data.decode import decode
from vitrail.errors import ImageError

LIMITED = """
import re, resource
size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, (size + {} * 2**20,) * 2)
"""


def large_picture(side: int = 7900) -> bytes:
    """62 million pixels, below the limit, in 8 kB; decoding it takes half a gigabyte."""
    return png(side, side, 1, 0, (b"\0" + bytes(-(-side // 8))) * side)


@pytest.mark.fault("R12", "Where memory runs out in a decoding worker (a thread, so the system cannot kill it alone), "
                   "the run ends with exit code 1 and names the picture, and takes no other in its place.")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_without_memory_ends_the_run_and_names_the_picture(
        attempts: Attempts, tmp_path: Path, workers: int) -> None:
    for number in range(12):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(large_picture())
    recipe = tiny_recipe(data__source=str(tmp_path / "photos"), data__workers=workers, training__batch_size=8)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    running = attempts.start(["train", "--recipe", "recipe.json", "--out", "run"], tmp_path,
                             before=LIMITED.format(200))
    assert running.code() == 1, running.words()
    assert ".png: there was not enough memory to read this picture. Use fewer decoding threads" in running.words()
    assert "Traceback" not in running.words()


def test_a_command_without_memory_says_so(attempts: Attempts, tmp_path: Path) -> None:
    before = LIMITED.format(20) + "import numpy; kept = numpy.empty(18 * 2**20, numpy.uint8)\n"
    running = attempts.start(["train", "digits", "--out", "run"], tmp_path, before=before)
    assert running.code() == 1, running.words()
    assert "not enough memory" in running.words()
    assert "Traceback" not in running.words()


@pytest.mark.parametrize("short", [False, True])
def test_a_file_that_asks_for_too_much_is_told_from_a_machine_without_memory(
        monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "from_any", greedy)
    if short:
        monkeypatch.setattr(np, "empty", greedy)
    with pytest.raises(MemoryError if short else ImageError):
        decode(large_picture(), "large.png")
