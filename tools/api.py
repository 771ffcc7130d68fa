"""Writes docs/api.md: what the public modules export, by their ``__all__``.

python tools/api.py             # write it
python tools/api.py --check     # say whether it is as it would be written

So nothing is listed by hand where a part is added.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import padecast  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
PROMISED = {
    "Handle": ("enabled", "enable", "disable", "reset", "report"),
    "Session": ("step", "guide", "reset", "trace", "plan", "complete"),
}
"""Of two classes that the rest of the package drives too, what users may rely on."""
FIRST = (
    "The site, which `make docs` writes into `site/`, shows docstrings here. In a checkout ask Python: "
    "`help(padecast.accelerate)`."
)
INHERITED = "inherited_members: [save_pretrained, from_pretrained, push_to_hub]"
"""What classes have from one that is not public."""


def parts(module: ModuleType) -> dict[str, Any]:
    """Return the classes and functions that a module exports."""
    named = {name: getattr(module, name) for name in module.__all__}
    return {name: part for name, part in named.items() if inspect.isclass(part) or inspect.isfunction(part)}


def entry(name: str, *options: str) -> str:
    """Write one entry, with options of the documentation tool."""
    return "\n".join([f"::: {name}", *(["    options:"] if options else []), *(f"      {line}" for line in options)])


def members(names: tuple[str, ...] | dict[str, Any]) -> str:
    """Write which members of an entry are shown."""
    return f"members: [{', '.join(names)}]"


def find(name: str, part: Any) -> tuple[str, ...]:
    """Return where the documentation tool finds what the package exports, and how it is then called.

    A function that is called as the module that it lies in would be taken for that module.
    """
    path = f"padecast.{name}"
    return (path,) if part.__module__ != path else (f"{path}.{name}", f"heading: {path}", f"toc_label: {name}")


def write() -> str:
    """Return the page."""
    own = parts(padecast)
    errors = [name for name, part in own.items() if inspect.isclass(part) and issubclass(part, BaseException)]
    functions = [name for name, part in own.items() if inspect.isfunction(part)]
    classes = [name for name in own if name not in (*errors, *functions)]
    lines = ["# API", "", "<!-- made by tools/api.py: make format -->", ""]
    lines += [FIRST, ""]
    for name in (*functions, *classes):
        shareable = [INHERITED] if hasattr(own[name], "push_to_hub") else []
        shown = [members(PROMISED[name])] if name in PROMISED else shareable
        lines.append(entry(*find(name, own[name]), *shown))
    lines += ["", "## Errors", "", *(entry(f"padecast.{name}") for name in errors)]
    for module in (part for name in padecast.__all__ if inspect.ismodule(part := getattr(padecast, name))):
        title = module.__name__.rpartition(".")[2].capitalize()
        shown = members(parts(module))
        shareable = [INHERITED] if any(hasattr(part, "push_to_hub") for part in parts(module).values()) else []
        lines += ["", f"## {title}", "", entry(module.__name__, "show_root_heading: false", shown, *shareable)]
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the page, or check it."""
    page = write()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        print("docs/api.md is not what the package exports.\nWrite it: make format")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
