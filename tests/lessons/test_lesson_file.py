"""Files of lessons: small, exact enough, and refused by the place that is damaged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from padecast import DamagedFile, MissingFile
from padecast.lessons import Identity, Lesson
from padecast.lessons.analytic import make_look

WHO = Identity("DiT", "c0ffee", "beef", (("style", 0.8),), "", "FluxPipeline", 3.5, "output", "")


def make_lesson(steps: int = 12) -> Lesson:
    return Lesson(WHO).add(make_look(steps)).add(make_look(steps + 3))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    lesson = make_lesson()
    again = Lesson.load(lesson.save(tmp_path / "a.json"))
    assert again.identity == lesson.identity and again.identity.key == lesson.identity.key
    for look, other in zip(lesson.looks, again.looks, strict=True):
        assert (look.samples, look.runs, look.steps) == (other.samples, other.runs, other.steps)
        np.testing.assert_allclose(other.mean(), look.mean(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(other.levels, look.levels, rtol=1e-8)
        assert look.is_like(other)


def test_plain_data_goes_through_json() -> None:
    document = json.loads(json.dumps(make_lesson().to_dict()))
    assert Lesson.from_dict(document).samples == 4


def test_fifty_steps_are_a_small_file(tmp_path: Path) -> None:
    look = make_look(50, samples=8)
    lesson = Lesson(WHO).add(look + look)
    assert lesson.save(tmp_path / "a.json").stat().st_size < 100_000


def test_a_file_holds_no_words_but_names(tmp_path: Path) -> None:
    document = make_lesson().to_dict()
    assert {*document} == {"kind", "schema", "identity", "looks"}
    assert {*document["looks"][0]} == {"noise", "timesteps", "samples", "runs", "grams", "singles", "digests"}


Change = Callable[[dict[str, Any]], Any]


def change_look(**fields: Any) -> Change:
    return lambda document: document["looks"][0].update(fields)


def change_noise(**fields: Any) -> Change:
    return lambda document: document["looks"][0]["noise"].update(fields)


def change_identity(**fields: Any) -> Change:
    return lambda document: document["identity"].update(fields)


def numbers(count: int, value: float) -> str:
    return base64.b64encode(np.full(count, value, dtype="<f4").tobytes()).decode()


COUNT = 12 * 13 // 2
CASES: dict[str, tuple[Change, str]] = {
    "another kind": (lambda d: d.update(kind="padecast calibration"), 'no "kind"'),
    "no schema": (lambda d: d.pop("schema"), "schema is missing"),
    "schema zero": (lambda d: d.update(schema=0), "schema is 0"),
    "schema text": (lambda d: d.update(schema="1"), "schema is str"),
    "schema true": (lambda d: d.update(schema=True), "schema is bool"),
    "no looks": (lambda d: d.pop("looks"), "looks is missing"),
    "many looks": (lambda d: d.update(looks=d["looks"] * 5), "looks has 10 values"),
    "look of text": (lambda d: d.update(looks=["x"]), r"looks\[0\].noise is missing"),
    "no model": (lambda d: d["identity"].pop("model"), "identity.model is missing"),
    "guidance text": (change_identity(guidance="3"), "identity.guidance is str"),
    "guidance nan": (change_identity(guidance=float("nan")), "identity.guidance holds nan"),
    "adapter without scale": (change_identity(adapters=[["a"]]), r"identity.adapters\[0\] has 1 values"),
    "adapter of numbers": (change_identity(adapters=[[1, 1.0]]), "which is no text"),
    "no samples": (change_look(samples=0), r"looks\[0\].samples is 0"),
    "samples true": (change_look(samples=True), r"looks\[0\].samples is bool"),
    "runs huge": (change_look(runs=2**40), r"looks\[0\].runs is"),
    "no steps": (change_look(timesteps=[]), r"steps of looks\[0\].timesteps is 0"),
    "many steps": (change_look(timesteps=[1.0] * 401), r"steps of looks\[0\].timesteps is 401"),
    "timestep of text": (change_look(timesteps=["x"] * 12), r"looks\[0\].timesteps holds"),
    "fewer sigmas": (change_noise(sigmas=[1.0]), r"looks\[0\].noise.sigmas has 1 values, not 13"),
    "sigmas that rise": (change_noise(sigmas=[i / 13 for i in range(13)], alphas=[0.5] * 13), "do not fall"),
    "negative sigma": (change_noise(sigmas=[-1.0] * 13), "where 0 to 1e"),
    "size zero": (change_noise(size=0), r"looks\[0\].noise.size is 0"),
    "digests no list": (change_look(digests="a"), r"looks\[0\].digests is not a list"),
    "digest no digest": (change_look(digests=["../x"]), r"looks\[0\].digests holds '../x', which is no digest"),
    "no matrix": (change_look(grams={}), r"looks\[0\].grams has 0 values"),
    "matrix of numbers": (change_look(grams={"guided": [1.0]}), r"looks\[0\].grams.guided is list"),
    "matrix no base64": (change_look(grams={"guided": "#"}), r"looks\[0\].grams.guided is no base64"),
    "matrix too short": (change_look(grams={"guided": numbers(3, 1.0)}), "has 12 bytes, not 312"),
    "matrix of nan": (change_look(grams={"guided": numbers(COUNT, float("nan"))}), "not finite"),
    "matrix huge": (change_look(grams={"guided": numbers(COUNT, 1e30)}), "huge"),
    "no single": (change_look(singles=[]), r"looks\[0\].singles has 0 values"),
    "more singles than samples": (change_look(samples=1), r"looks\[0\].singles has 2 values of 1 samples"),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_refused_by_its_place(case: str) -> None:
    change, message = CASES[case]
    document = make_lesson().to_dict()
    change(document)
    with pytest.raises(DamagedFile, match=message):
        Lesson.from_dict(document)


def test_a_later_release_is_named() -> None:
    with pytest.raises(DamagedFile, match=r"schema 2; this release of padecast reads up to 1[\s\S]*Upgrade"):
        Lesson.from_dict({**make_lesson().to_dict(), "schema": 2})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"kind": "padecast lesson"}', b'{"a": 1, "a": 2}'])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        Lesson.load(path)
    assert path.read_bytes() == data


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = make_lesson(4).save(tmp_path / "a.json").read_bytes()
    path = tmp_path / "b.json"
    for size in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFile):
            Lesson.load(path)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="there is no file"):
        Lesson.load(tmp_path / "a.json")
