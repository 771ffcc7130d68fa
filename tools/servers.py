"""Gets SGLang for the tests of tests/servers, without what it needs a GPU for, into .servers/.

python tools/servers.py             # fetch what is not there yet (39 MB, and some small packages)

What it imports besides is stood for by stubs: tests/servers/stubs.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
FOLDER, REQUIREMENTS = TOOLS.parent / ".servers", TOOLS / "servers-requirements.txt"
PYTHON = (3, 11)  # for which SGLang has a wheel


def main() -> None:
    """Fetch what is not there yet.

    Raises:
        SystemExit: On another Python.
    """
    if sys.version_info[:2] != PYTHON:
        raise SystemExit(f"SGLang's wheel is for Python {PYTHON[0]}.{PYTHON[1]}: make servers PYTHON=python3.11")
    stamp = FOLDER / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == REQUIREMENTS.read_text():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--target", str(FOLDER), "-r", str(REQUIREMENTS)], check=True)
    shutil.copy(REQUIREMENTS, stamp)


if __name__ == "__main__":
    main()
