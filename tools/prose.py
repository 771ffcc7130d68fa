"""Measures the prose of README and the documentation: words of a sentence, and numbers of a paragraph.

python tools/prose.py                     # all pages
python tools/prose.py docs/index.md       # one page, with its longest sentences
python tools/prose.py --crowded           # paragraphs with more than three numbers, of all pages or of those named

Prose is what is neither code, nor a table, a heading, a picture, folded (<details>), nor written by a script. A point
of a list is a paragraph of its own. Words are what has a letter or a digit; a piece of code counts as one.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = re.compile(
    r"^```.*?^```|^<!-- (?:table|keys|commands)\b.*?^<!-- end\b.*?-->|^<!--.*?-->|<details.*?</details>|^<[^>]+>$",
    flags=re.DOTALL | re.MULTILINE,
)
ASIDE = re.compile(r"^(?:#|\||!\[|--8<--|:::|\?\?\?|\s*\$\$)")
POINT = re.compile(r"^\s*(?:[-*]|\d+\.|\([a-z]\))\s+")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
CODE = re.compile(r"`[^`]*`")
ENDS = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*]*[A-Z0-9]|code|padecast)")
STOP = re.compile(r"[.!?:;][\"')*]*(?:\s|$)")
MOST = 3
"""Numbers that a paragraph may have."""
NUMBER = re.compile(r"(?<![\w.-])\d[\d.,]*(?![\w-])")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a page, on one line each, links as their words and code as one."""
    blocks, lines = list[str](), list[str]()
    for line in [*SECTIONS.sub("\n", text).splitlines(), ""]:
        ends = not line.strip() or ASIDE.match(line) or POINT.match(line)
        if ends and lines:
            blocks.append(" ".join(lines))
            lines = []
        if line.strip() and not ASIDE.match(line):
            lines.append(POINT.sub("", line).strip())
    return [CODE.sub("code", LINK.sub(r"\1", block)) for block in blocks]


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph where a sentence ends.

    Example:
        >>> sentences("It is 0.1 now. Try it: it works. So far.")
        ['It is 0.1 now.', 'Try it: it works.', 'So far.']
    """
    return [part for part in ENDS.split(paragraph) if any(map(str.isalnum, part))]


def count_words(sentence: str) -> int:
    """Count what has a letter or a digit.

    Example:
        >>> count_words("Two - or 2.5 - words")
        4
    """
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def count_numbers(paragraph: str) -> int:
    """Count the numbers written in digits, outside code.

    Example:
        >>> count_numbers("8 of 20 steps in FLUX.1, 2.5 times")
        3
    """
    return len(NUMBER.findall(paragraph))


def list_crowded(text: str, most: int = MOST) -> list[str]:
    """Return the paragraphs with too many numbers. What has no sentence is a title or an entry of a list.

    Example:
        >>> list_crowded("It has 1, 2, 3 or 4 dB.")
        ['It has 1, 2, 3 or 4 dB.']
        >>> list_crowded("**A table** of 1, 2, 3 and 4")
        []
    """
    return [part for part in paragraphs(text) if count_numbers(part) > most and STOP.search(part)]


def measure(text: str) -> dict[str, float]:
    """Return sentences, median and 90th percentile of their words, and the most numbers of a paragraph."""
    lengths = sorted(count_words(sentence) for part in paragraphs(text) for sentence in sentences(part))
    return {
        "sentences": len(lengths),
        "median": statistics.median(lengths) if lengths else 0,
        "p90": lengths[min(len(lengths) - 1, round(0.9 * (len(lengths) - 1)))] if lengths else 0,
        "numbers": max(map(count_numbers, paragraphs(text)), default=0),
        "crowded": len(list_crowded(text)),
    }


def main() -> None:
    """Print a line a page, and of pages that are named the longest sentences too."""
    named = [Path(name) for name in sys.argv[1:] if not name.startswith("--")]
    pages = named or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if "--crowded" in sys.argv[1:]:
        for page in pages:
            for part in list_crowded(page.read_text(encoding="utf-8")):
                print(f"{page.name}: {count_numbers(part)} numbers: {part}")
        return
    print(f"{'page':24} sentences  median   p90  numbers of a paragraph")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        figures = measure(text)
        print(f"{page.name:24}{figures['sentences']:10}{figures['median']:8}{figures['p90']:6}{figures['numbers']:9}")
        if named:
            parts = paragraphs(text)
            for sentence in sorted((s for part in parts for s in sentences(part)), key=count_words)[-5:]:
                print(f"    {count_words(sentence)}: {sentence}")
            for part in list_crowded(text):
                print(f"    {count_numbers(part)} numbers: {part}")
    everything = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    figures = measure(everything)
    print(f"{'together':24}{figures['sentences']:10}{figures['median']:8}{figures['p90']:6}{figures['numbers']:9}")


if __name__ == "__main__":
    main()
