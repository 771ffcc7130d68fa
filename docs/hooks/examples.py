"""Reads docstrings as the documentation tool does: ``Example:`` is code with its output, and roles are plain names."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Rewrites docstrings before they are parsed; what only refers to its parent's is hidden."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one object's docstring."""
        if obj.docstring is None:
            return
        if re.match(r"(?:\w+ )*See :\w+:`[^`]+`\.?\s*$", obj.docstring.value.strip()):
            obj.docstring = None  # an override of what is documented where it is declared
        else:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Return a docstring without the marks of another tool.

    Example:
        >>> markdown("See :class:`~padecast.Report` and :math:`x^2`.")
        'See `Report` and `x^2`.'
    """
    text = text.replace("Example:\n", "Examples:\n")
    text = re.sub(r"^([ ]*)\.\. math::([^\n]*)\n?((?:\1[ ]+[^\n]*\n|\s*\n)*)", _formula, text, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]+)`", r"`\1`", text)
    return re.sub(r":(?:class|meth|func|mod|data|attr|exc|obj):`([^`]+)`", _name, text)


def _formula(found: "re.Match[str]") -> str:
    """Write a formula as a block of TeX, at its own depth."""
    indent, first, rest = found.groups()
    lines = [first.strip(), *(line.strip() for line in rest.splitlines())]
    body = "\n".join(f"{indent}{line}" for line in lines if line)
    return f"{indent}```tex\n{body}\n{indent}```\n\n"


def _name(found: "re.Match[str]") -> str:
    """Write what a role names: of a path with a tilde its last part."""
    name = found[1]
    return f"`{name.removeprefix('~').rpartition('.')[2] if name.startswith('~') else name.removeprefix('.')}`"
