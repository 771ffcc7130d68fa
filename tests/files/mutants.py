"""Real files, and what becomes of them: bytes that changed, fields that are gone, huge, nested or of another type."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
HOLE = "@@hole@@"
DEEP = "[" * 100_000
VALUES = (
    "null",
    "true",
    "0",
    "-1",
    '""',
    '"x"',
    "[]",
    "{}",
    "[[]]",
    '{"a": 1}',
    "1e400",
    "-1e308",
    "1e308",
    "NaN",
    "-Infinity",
    "9" * 400,
    "1" + "0" * 30,
    "1000000000",
    "9223372036854775808",
    "0.5",
    DEEP,
    DEEP + "]" * 100_000,
    f'"{"x" * 2_000_000}"',
    '"\\ud800"',
    '"\\u001b[31m\\u202e[red]"',
    '"$x^$ and"',
    '"²-²"',
    f"[{','.join(['0'] * 10_000)}]",
    f"[{','.join(['[]'] * 10_000)}]",
)
TOML_VALUES = (
    "-1",
    "0",
    "true",
    '""',
    '"~nobody_at_all/x"',
    '"fora:every=' + "-" * 30_000 + '1"',
    '"ends:policy=' + "(ends:policy=" * 500 + '"',
    '"x"',
    "[]",
    "{}",
    "1e400",
    "nan",
    "-inf",
    "9" * 5000,
    "0x" + "f" * 5000,
    "1979-05-27",
    "1000000000",
    '"0-99999999999"',
    "[" * 50_000,
    "a." * 50_000 + "a = 1",
    f'"{"x" * 300_000}"',
    '"\\u001b[31m"',
    '"/"',
    "{a.b = 1}",
)


def json_mutant(data: bytes, chance: random.Random) -> bytes:
    """One value of a document gone, or another in its place, or twice."""
    document = json.loads(data)
    parent, key = chance.choice(places(document))
    kind = chance.random()
    if kind < 0.2:
        del parent[key]
        return json.dumps(document).encode()
    if kind < 0.25 and isinstance(parent, list):
        parent.append(parent[key])
        return json.dumps(document).encode()
    if kind < 0.3 and isinstance(parent, dict):
        parent[f"{key}²"] = parent[key]
        text = json.dumps(document, ensure_ascii=False)
        return text.replace(f"{key}²", key).encode()  # the key is there twice
    parent[key] = HOLE
    return json.dumps(document).replace(f'"{HOLE}"', chance.choice(VALUES)).encode()


def toml_mutant(data: bytes, chance: random.Random) -> bytes:
    """One value of a TOML file gone, or another in its place."""
    lines = data.decode().splitlines()
    place = chance.choice([k for k, line in enumerate(lines) if " = " in line])
    key = lines[place].partition(" = ")[0]
    lines[place] = "" if chance.random() < 0.2 else f"{key} = {chance.choice(TOML_VALUES)}"
    return "\n".join(lines).encode()


def line_mutant(data: bytes, chance: random.Random) -> bytes:
    """One line of a file of JSON lines changed as a document, gone, or swapped with another."""
    lines = data.splitlines()
    place = chance.randrange(1, len(lines))
    kind = chance.random()
    if kind < 0.8:
        lines[place] = json_mutant(lines[place], chance)
    elif kind < 0.9:
        del lines[place]
    else:
        lines[0], lines[place] = lines[place], lines[0]
    return b"\n".join(lines) + b"\n"


def byte_mutant(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, lost, doubled or encoded otherwise."""
    at = chance.randrange(max(len(data), 1))
    return chance.choice(
        (
            lambda: data[:at],
            lambda: data[at:],
            lambda: b"",
            lambda: data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
            lambda: data[:at] + chance.randbytes(8) + data[at:],
            lambda: data[:at] + data[at + chance.randrange(1, 40) :],
            lambda: data + data,
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.decode("latin-1").encode("utf-16"),
            lambda: data[:at] + "é".encode("latin-1") + data[at:],
            lambda: data[:at] + b"\0" + data[at:],
            lambda: data.replace(b"\n", b"\r\n"),
            lambda: chance.randbytes(2000),
            lambda: data[:at] + b"[" * 50_000 + data[at:],
            lambda: data[:at] + b"9" * 5000 + data[at:],
        )
    )()


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every list and table of a document with each of its keys; a few of a long list."""
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        keys: list[Any] = list(document)
    else:
        keys = list(range(len(document)))[:3] if isinstance(document, list) else []
    for key in keys:
        found.append((document, key))
        if isinstance(document[key], (dict, list)):
            found += places(document[key])
    return found
