"""Two threads that use a message shape for the first time crash msgspec, and the process. We prepare all before."""

import subprocess
import sys

import msgspec
import pytest

from collector import wire

THREADS_MEET_NEW_SHAPES = """
import sys, threading
from typing import Annotated
import msgspec
from collector import wire

sys.setswitchinterval(1e-6)
kinds = []
for number in range(200):
    text = Annotated[str, msgspec.Meta(max_length=64)]
    inner = msgspec.defstruct(f"Inner{number}", [(f"f{i}", text) for i in range(18)])
    kinds.append(msgspec.defstruct(f"Outer{number}", [("inner", inner), ("other", int | None)]))
wire.prepare_structs()
value = {"inner": {f"f{i}": "x" for i in range(18)}, "other": 3}
together = threading.Barrier(4)

def meet():
    for kind in kinds:
        together.wait()
        msgspec.convert(value, kind)

threads = [threading.Thread(target=meet) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_use_a_shape_for_the_first_time_together_do_not_crash() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS_MEET_NEW_SHAPES], timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("module", ["webapp.processes.rq_worker", "collector.daemon"])
def test_every_shape_of_both_programs_can_be_prepared(module: str) -> None:
    __import__(module)
    assert wire.FileSession in msgspec.Struct.__subclasses__()
    wire.prepare_structs()
