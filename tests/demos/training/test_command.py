"""The options that the trainings' command lines share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.demos.training.toy import Recipe

from demos.training.command import asked, parser


def test_defaults_are_the_recipes() -> None:
    options = parser("toy", Recipe()).parse_args([])
    assert (options.minutes, options.seed, options.steps, options.out) == (10.0, 0, None, Path("runs/toy"))
    assert asked(options, Recipe()) == {"stages": ("body", "tail"), "resume": False, "every": 200}


def test_one_stage_may_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    options = parser("toy", Recipe()).parse_args(["--stage", "tail", "--resume", "--every", "5"])
    assert asked(options, Recipe()) == {"stages": ("tail",), "resume": True, "every": 5}
    with pytest.raises(SystemExit):
        parser("toy", Recipe()).parse_args(["--stage", "head"])
    assert "python -m demos.toy.train" in capsys.readouterr().err
