"""Nothing that runs is read from a file, and no file is written but by the one function that writes them whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import padecast

ROOT = Path(padecast.__file__).parents[2]
ROOM = "src/padecast/files/"
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
LOADS = {"torch.load", "torch.save", "torch.package", "np.load", "numpy.load", "np.save", "np.savez", "numpy.save"}
WRITES = {"write_text", "write_bytes", "savefig", "save_file", "replace_file"}
FROM_DISK = {"open", "os.replace", "os.rename", "os.open", "shutil.move", "shutil.copy", "json.load", "toml.load"}


def findings(source: str, *, writes: bool = True, reads: bool = True) -> Iterator[str]:
    """What a module does that only one room may, or none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.split(".")[0] in UNSAFE)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        if called in LOADS or last in ("load_pickle", "allow_pickle") or called in ("eval", "exec"):
            yield called
        if any(keyword.arg == "allow_pickle" for keyword in node.keywords):
            yield f"{called}(allow_pickle)"
        if last == "from_pretrained" and not any(k.arg in ("use_safetensors", None) for k in node.keywords):
            yield called
        if writes and (called in FROM_DISK or (last in WRITES and not _to_memory(node))):
            yield called
        if reads and last in ("read_text", "read_bytes") and not called.startswith("files."):
            yield called
        if writes and last == "open" and any(isinstance(a, ast.Constant) and "w" in str(a.value) for a in node.args):
            yield called


def _to_memory(call: ast.Call) -> bool:
    """Whether a picture goes to a buffer, whose bytes are then written whole."""
    return bool(call.args) and ast.unparse(call.args[0]) in ("picture", "file")


# Configuration alone, a file that is read and not written, or files of ours, which are JSON.
ALLOWED = {
    ("src/padecast/zoo/__init__.py", "FlowMatchEulerDiscreteScheduler.from_pretrained"): "a configuration",
    ("src/padecast/cli/lessons.py", "Lesson.from_pretrained"): "JSON of ours",
    ("src/padecast/cli/plan.py", "Calibration.from_pretrained"): "JSON of ours",
    ("src/padecast/lab/pixels.py", "pillow.open"): "bytes in memory",
    ("src/padecast/calibration/provenance.py", "Path('/proc/cpuinfo').read_text"): "the system's own",
}


@pytest.mark.fault("weights and writing")
@pytest.mark.parametrize("top", ["src", "demos", "benchmarks"])
def test_no_module_unpickles_or_writes_by_itself(top: str) -> None:
    found = [
        (name, what)
        for path in sorted((ROOT / top).rglob("*.py"))
        for name in [str(path.relative_to(ROOT))]
        for inside in [name.startswith(ROOM)]
        for what in findings(
            path.read_text(encoding="utf-8"), writes=not inside, reads=not inside and top != "benchmarks"
        )
    ]
    assert [finding for finding in found if finding not in ALLOWED] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "data.get(x, allow_pickle=True)",
        "path.write_text('x')",
        "open(path, 'w')",
        "path.open('wb')",
        "figure.savefig(path)",
        "os.replace(a, b)",
        "Model.from_pretrained(folder)",
        "save_file(tensors, path)",
        "eval(text)",
        "json.loads(path.read_text())",
    ],
)
def test_this_test_sees_what_it_should(source: str) -> None:
    assert list(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "files.write(path, 'x')",
        "Calibration.load(path)",
        "figure.savefig(picture)",
        "Model.from_pretrained(folder, use_safetensors=True)",
        "text.replace('a', 'b')",
        "model.eval()",
    ],
)
def test_this_test_lets_pass_what_it_should(source: str) -> None:
    assert not list(findings(source))
