import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "there"),
    [(64, 128, 100, 100), (64, 128, 500, 128), (120, 128, 100, 120), (128, 128, 500, 128)],
)
def test_a_program_may_open_as_many_files_as_it_needs_and_never_fewer_than_before(
    soft: int, hard: int, wanted: int, there: int
) -> None:
    work = (
        "import resource; from tandem import descriptors\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"print(descriptors.allow_many({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == [str(there), str(there), str(hard)]
