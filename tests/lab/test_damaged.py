"""Cells that are damaged: `padecast report` names the file and the place, and draws what is whole."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.files.meter import at_most
from typer.testing import CliRunner, Result

from padecast.cli import app
from padecast.lab import _canvas, cells
from padecast.lab.chapters import chapters
from padecast.lab.shelf import Shelf

FILES = Path(__file__).parent / "files"
NAMES = ("measured", "sweep", "refused", "portrait", "uncached")
Change = Callable[[dict[str, Any]], Any]


def cell(name: str = "measured") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FILES / f"{name}.json").read_text())
    return document


def report(folder: Path) -> Result:
    return CliRunner().invoke(app, ["report", str(folder)])


def png(wide: int, high: int, *, rows: int = 1) -> str:
    """A PNG that says that it is so large, with some rows of zeros in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * (wide + 1) * rows)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


def put(*path: Any, to: Any) -> Change:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = to

    return change


def lose(*path: Any) -> Change:
    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        del document[path[-1]]

    return change


DAMAGES: dict[str, tuple[str, Change, str]] = {
    "no settings": ("measured", lose("settings"), "settings is missing"),
    "no cell": ("measured", lose("cell"), "cell is missing"),
    "no provenance": ("measured", lose("provenance"), "provenance is missing"),
    "settings that are a list": ("measured", put("settings", to=[]), "settings is list"),
    "settings without a name": ("refused", lose("settings", "name"), "settings.name is missing"),
    "settings of no steps": ("measured", put("settings", "steps", to=0), "settings.steps is 0"),
    "settings of 1e9 steps": ("measured", put("settings", "steps", to=10**9), "settings.steps is"),
    "seeds that are words": ("measured", put("settings", "seeds", to=["a"]), "settings.seeds"),
    "a kind that is none": ("measured", put("cell", "kind", to="party"), "cell.kind is 'party'"),
    "a wanted that is a list": ("measured", put("cell", "wanted", to=[4]), "cell.wanted is list"),
    "a sweep of no option": ("sweep", put("cell", "option", to=""), "cell.option is empty"),
    "no result": ("measured", lose("result"), "result is missing"),
    "a result without seconds": ("measured", lose("result", "seconds"), "result.seconds is missing"),
    "a PSNR that is null": ("measured", put("result", "psnr", "mean", to=None), "result.psnr.mean is NoneType"),
    "a PSNR of 1e300": ("measured", put("result", "psnr", "worst", to=1e300), "result.psnr.worst is 1e"),
    "an SSIM without its mean": ("measured", lose("result", "ssim", "mean"), "result.ssim.mean is missing"),
    "no plans": ("measured", put("result", "plans", to=[]), "result.plans"),
    "plans that are numbers": ("measured", put("uncached", "plans", to=[1]), r"uncached.plans\[0\] is int"),
    "no computed steps": ("measured", put("result", "nfe", to=0), "result.nfe is 0"),
    "three ends of a range": ("measured", put("result", "seconds_range", to=[1, 2, 3]), "result.seconds_range has 3"),
    "an error that is a word": ("measured", put("result", "errors", 2, to="x"), r"result.errors\[2\]"),
    "a score that is a word": ("measured", put("result", "scores", to={"a": "b"}), "result.scores.a"),
    "a version that is a list": ("measured", put("provenance", "versions", to={"torch": []}), "versions.torch is list"),
    "a refusal without why": ("refused", lose("refusal", "why"), "refusal.why is missing"),
    "images that are none": ("measured", put("images", "result", 1, to="abc"), r"images.result\[1\] is no PNG"),
    "an image that is a number": ("measured", put("images", "uncached", 0, to=3), r"images.uncached\[0\] is int"),
    "no images": ("measured", put("images", "uncached", to=[]), "images.uncached is not a list of 1"),
    "an image that is cut off": ("measured", put("images", "result", 0, to=png(16, 16)[:60]), r"images.result\[0\]"),
    "an image of 4e9 pixels": ("measured", put("images", "result", 0, to=png(65_000, 65_000)), r"65000 x 65000"),
    "an image of another size": ("measured", put("images", "result", 0, to=png(8, 8, rows=8)), "has shape"),
    "a portrait without its path": ("portrait", lose("portrait", "path"), "portrait.path is missing"),
    "a path of no steps": ("portrait", put("portrait", "path", to=[]), "portrait.path has 0 steps"),
    "a path that is ragged": ("portrait", put("portrait", "path", 2, 0, to=[1.0]), r"portrait.path\[2\]\[0\] has 1"),
    "a path of a seed fewer": ("portrait", put("portrait", "path", 0, to=[[1.0] * 8]), r"portrait.path\[0\] has 1"),
    "cosines that are ragged": ("uncached", put("portrait", "cosines", "outputs", 1, to=[1.0]), "cosines.outputs"),
    "a cosine that is a word": ("uncached", put("portrait", "cosines", "residuals", 0, 0, to="x"), "cosines.residuals"),
    "a name of half a letter": ("measured", put("result", "name", to="\ud800"), "result.name holds half"),
    "a number of 400 digits": ("measured", put("result", "history_bytes", to=10**400), "digits"),
    "NaN": ("measured", put("result", "ideal", to=float("nan")), "result.ideal holds nan"),
    "lists in lists": ("measured", put("settings", "sampling", to=json.loads("[" * 90 + "]" * 90)), "nested"),
    "a later format": ("measured", put("schema", to=2), "format 2"),
    "a format that is a list": ("measured", put("schema", to=[1]), "format"),
}


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels, which are drawn fast."""
    monkeypatch.setattr(_canvas, "DPI", 30)


@pytest.mark.fault("damaged cells")
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_of_a_cell_is_named_with_its_file(name: str, tmp_path: Path) -> None:
    kind, change, said = DAMAGES[name]
    document = cell(kind)
    change(document)
    (tmp_path / f"{kind}.json").write_text(json.dumps(document))
    with at_most(200):
        result = report(tmp_path)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2 and f"{kind}.json" in result.stderr
    with pytest.raises(Exception, match=said):
        list(Shelf(tmp_path).documents())


@pytest.mark.fault("damaged cells")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b'{"kind": "padecast cell", "schema": 1}',
        b'{"kind": "padecast cell", "schema": 1, "schema": 1}',
        b'{"kind": "padecast cell", "schema": 1, "settings": {"name": "a"}, "provenance": {}}',
        b"\xff\xfe{}",
        b'{"kind": "padecast ce',
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" + b"[]," * 1_000_000 + b"[]]",
    ],
    ids=range(9),
)
def test_a_file_that_is_no_cell_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(data)
    with at_most(200):
        result = report(tmp_path)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2 and "one.json" in result.stderr


@pytest.mark.fault("cells of two experiments")
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("sweep", put("images", to={"uncached": [png(8, 8, rows=8)], "result": [png(8, 8, rows=8)]}), "shape"),
        ("portrait", put("portrait", "seeds", to=[0]), "2 seeds"),
        ("portrait", put("portrait", "path", to=[[[1.0] * 4] * 2] * 6), "8 numbers"),
    ],
)
def test_cells_that_do_not_go_together_are_named(name: str, change: Change, said: str, tmp_path: Path) -> None:
    document = cell(name)
    change(document)
    if said == "2 seeds":
        document["portrait"]["path"] = [step[:1] for step in document["portrait"]["path"]]
    if name == "sweep":
        document["cell"].update(kind="measure", wanted=4)
    for other in {*NAMES} - {"sweep"}:
        (tmp_path / f"{other}.json").write_text((FILES / f"{other}.json").read_text())
    (tmp_path / f"{name}-too.json").write_text(json.dumps(document))
    result = report(tmp_path)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2 and f"{name}-too.json" in result.stderr and said in result.stderr


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize(
    "change",
    [
        put("result", "scores", to={"FID": None}),
        put("result", "errors", to=[None] * 6),
        put("images", to={"uncached": [png(8, 8, rows=8)] * 2, "result": [png(8, 8, rows=8)]}),
    ],
    ids=range(3),
)
def test_what_json_has_no_number_for_is_shown_all_the_same(change: Change, tmp_path: Path) -> None:
    document = cell()
    change(document)
    document["result"].update(seconds=None, speedup=None, flops_share=None)
    (tmp_path / "one.json").write_text(json.dumps(document))
    result = report(tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_whole_cells_are_drawn_and_know_their_files(tmp_path: Path) -> None:
    documents = list(Shelf(FILES).documents())
    assert sorted(Path(d["file"]).stem for d in documents) == sorted(NAMES)
    (chapter,) = chapters(documents)
    comparison = chapter.comparison(4)
    assert comparison is not None and [images.shape[0] for images in comparison.images] == [2, 2]


def test_images_of_any_size_go_into_a_cell_that_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.lab.pixels import decode, encode, size_of

    large = torch.rand(3, 20, 5000)
    assert size_of(encode(large)) == (3, 7, 1667) and decode(encode(large), 256).shape == (3, 1, 256)
    monkeypatch.setattr(cells, "IMAGES", 20_000)
    noise = torch.rand(6, 3, 32, 32)
    found = cells._encode(noise, noise)
    assert len(found["uncached"]) == len(found["result"]) == 2
    assert [len(texts) for texts in cells._encode(torch.rand(2, 3, 99, 99), torch.rand(2, 3, 99, 99)).values()] == [
        1,
        1,
    ]
