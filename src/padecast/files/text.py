"""What files say, shown as text: nothing in a name moves a cursor, turns a line around or hides."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"  # part of how some languages, and joined emoji, are written
MOST = 200


def visible(text: object, *, keep: str = "\n\t") -> str:
    """Write what does not print as an escape: control codes, marks of direction, half surrogates.

    Args:
        text: Anything; it is made text.
        keep: Characters that stay although they do not print. Default newline and tab.

    Example:
        >>> print(visible("a\\x1b[31mred\\u202e"))
        a\\x1b[31mred\\u202e
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(letter if _prints(letter) or letter in keep else escape(letter) for letter in shown)


def line(text: object, most: int = MOST) -> str:
    """Return text on one line, cut after so many characters.

    Example:
        >>> line("two\\nlines"), line("abcdef", 4)
        ('two\\\\nlines', 'abc…')
    """
    whole = str(text)
    shown = visible(whole[: most + 1], keep="")
    return shown if len(whole) <= most and len(shown) <= 6 * most else shown[: most - 1] + "…"


def _prints(letter: str) -> bool:
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"


def escape(letter: str) -> str:
    """Return the escape that stands for a character in a string of Python.

    Example:
        >>> escape("中"), escape(chr(27))
        ('\\\\u4e2d', '\\\\x1b')
    """
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
