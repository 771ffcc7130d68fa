"""Every file that padecast reads or writes goes through here: read within bounds, written whole, names shown as text.

``reading`` opens files and parses JSON and TOML within the bounds that ``bounds`` enforces; ``fields`` checks what a
document must hold; ``weights`` is for tensors; ``writing`` replaces files at once and blames the disk; ``text`` shows
what files say on one line.
"""

from padecast.files.bounds import Bounds
from padecast.files.reading import check_file, damaged, locate, read_bytes, read_json, read_lines, read_text, read_toml
from padecast.files.text import escape, line, visible
from padecast.files.weights import load_weights, read_tensors, write_tensors
from padecast.files.writing import append, blame, check_writable, is_full, staged, write

__all__ = [
    "Bounds",
    "append",
    "blame",
    "check_file",
    "check_writable",
    "damaged",
    "escape",
    "is_full",
    "line",
    "load_weights",
    "locate",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_tensors",
    "read_text",
    "read_toml",
    "staged",
    "visible",
    "write",
    "write_tensors",
]
