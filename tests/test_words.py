"""Names say what a thing is: functions are verbs, values are nouns, and few files lie at the root."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """The tool that counts."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_pronoun_or_participle_is_the_name_of_a_value(figures: ModuleType) -> None:
    paths = figures.sources(without=("zoo",))
    private, _, _ = figures.words(paths)
    assert 1000 * len(private) / figures.lines(paths) <= 1, [
        f"{path.name}:{line}: {name}" for path, line, name in private
    ]


def test_functions_are_verbs(figures: ModuleType) -> None:
    _, participles, count = figures.words(figures.sources(without=("zoo",)))
    assert len(participles) <= 20 and count > 1000, [f"{path.name}:{line}: {name}" for path, line, name in participles]


def test_few_files_lie_at_the_root(figures: ModuleType) -> None:
    assert len(list(figures.SOURCE.glob("*.py"))) <= 10


@pytest.mark.parametrize(
    ("source", "private", "participles"),
    [
        ("def read(path): rows = 1", [], []),
        ("def told(found): made = 1", ["found", "made"], ["told"]),
        ("class A:\n    @property\n    def computed(self): return 1", [], []),
        ("def f():\n    for one in (): pass\n    with open(1) as given: pass", ["one", "given"], []),
        ("def feed(): pass\ndef _fitted(): pass", [], ["_fitted"]),
    ],
)
def test_this_test_sees_what_it_should(
    figures: ModuleType, tmp_path: Path, source: str, private: list[str], participles: list[str]
) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    locals_of, functions, _ = figures.words([path])
    assert sorted(name for _, _, name in locals_of) == sorted(private)
    assert [name for _, _, name in functions] == participles
