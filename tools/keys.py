"""Writes the tables of docs/experiment-files.md: the keys of an experiment file, from the dataclasses that read it.

python tools/keys.py             # write them
python tools/keys.py --check     # say whether they are as they would be written
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from padecast.lab._tables import Numbers  # noqa: E402
from padecast.lab.experiment import Experiment, Portraits, Setting, Source, Sweep  # noqa: E402

PAGE = ROOT / "docs" / "experiment-files.md"
TABLES = {
    "experiment": Experiment,
    "pipelines": Source,
    "settings": Setting,
    "sweeps": Sweep,
    "portraits": Portraits,
}
"""Tables of the page, and the classes that they are of."""
PLACE = re.compile(r"(<!-- keys: (\w+), made by tools/keys.py: make format -->\n).*?(<!-- end -->)", flags=re.DOTALL)
ROLE = re.compile(r":\w+:`~?([^`]*)`")
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "table"}


def describe(kind: type) -> dict[str, str]:
    """Return what a dataclass says of each of its fields, from its docstring."""
    _, _, text = (kind.__doc__ or "").partition("Args:\n")
    entries = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w|\Z|^ {0,4}\S)", text, flags=re.DOTALL | re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def name_type(hint: Any) -> str:
    """Say how a value is written."""
    if hint == Numbers:
        return "numbers"
    kinds = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) is tuple:
        return "tables" if dataclasses.is_dataclass(kinds[0]) else "list"
    if get_origin(hint) is dict or dataclasses.is_dataclass(hint):
        return "table"
    return WORDS[kinds[0] if kinds else hint]


def name_default(part: dataclasses.Field[Any]) -> str:
    """Write a default as in a file; nothing where there is none, or where it is empty."""
    if part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING:
        return "*required*"
    value = part.default
    if value is dataclasses.MISSING or value is None or value in ((), ""):
        return ""
    if isinstance(value, tuple):
        return f'`"{value[0]}-{value[-1]}"`'
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def write_table(kind: type) -> str:
    """Return the table of a dataclass."""
    meanings, hints = describe(kind), get_type_hints(kind)
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for part in dataclasses.fields(kind):
        meaning = ROLE.sub(lambda found: f"`{found[1]}`", meanings[part.name]).replace("``", "`").replace("|", "\\|")
        meaning = re.sub(r" Default (?:\w+|0 to 15)(?=\.|,)\.?", "", meaning)  # has a column of its own
        rows.append(f"| `{part.name}` | {name_type(hints[part.name])} | {name_default(part)} | {meaning} |")
    return "\n".join(rows)


def write() -> str:
    """Return the page with its tables as they are to be."""
    page = PAGE.read_text(encoding="utf-8")
    return PLACE.sub(lambda found: f"{found[1]}\n{write_table(TABLES[found[2]])}\n\n{found[3]}", page)


def main() -> int:
    """Write the tables, or check them."""
    page = write()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        print("docs/experiment-files.md is not what padecast.lab.experiment says.\nWrite it: make format")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
