"""Published plans: what ships, how it is named, and when it is offered."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.tiny import dit, dit_pipeline, flux_pipeline, sample_dit, sample_flux
from typer.testing import CliRunner

import padecast
from padecast import Report, UnknownName, accelerate, method
from padecast._errors import InvalidOption
from padecast.cli import app
from padecast.forecasters import Reuse, TCPade
from padecast.methods import DAMPED
from padecast.policies import Plan
from padecast.policies.published import DATA, Published, find, follows, list_published, offers
from padecast.report import StepReport

ENTRIES: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))["plans"]
CLASSES: dict[str, str] = json.loads(DATA.read_text(encoding="utf-8"))["classes"]
FLUX = ("published:flux-50-9", "published:flux-50-13", "published:flux-50-21")
PUBLIC = r"github\.com/[\w-]+/[\w-]+@[0-9a-f]{7} \S+(; arXiv:\d{4}\.\d{5})?"

every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
every_plan = pytest.mark.parametrize("plan", list_published().values(), ids=lambda plan: plan.name)


# Data ----------------------------------------------------------------------------------------------------------------


@every_entry
def test_a_plan_is_sorted_begins_at_0_and_has_as_many_steps_as_it_says(entry: dict[str, Any]) -> None:
    plan = entry["plan"]
    assert plan == sorted(set(plan)) and plan[0] == 0 and plan[-1] < entry["steps"]
    assert len(plan) == entry["computed"]


@every_entry
def test_a_source_is_public(entry: dict[str, Any]) -> None:
    assert re.fullmatch(PUBLIC, entry["source"])
    assert entry["model"] and entry["search"]


@every_entry
def test_a_name_says_model_steps_and_computed_steps(entry: dict[str, Any]) -> None:
    assert re.fullmatch(rf"[a-z0-9-]+-{entry['steps']}-{entry['computed']}(-[a-z0-9-]+)?", entry["name"])


def test_names_are_unique_and_every_model_has_plans() -> None:
    assert len(ENTRIES) == len(list_published())
    for model in ("flux", "qwen", "qwen-2512", "hunyuan", "wan", "zimage"):
        assert any(re.fullmatch(rf"{model}-50-\d+", name) for name in list_published())


def test_a_name_without_a_search_is_that_of_the_first_plan_of_its_length() -> None:
    seen: set[str] = set()
    for name in list_published():
        short = re.match(r".*?-50-\d+", name)
        assert short is not None
        assert (name == short[0]) == (short[0] not in seen)
        seen.add(short[0])


def test_the_models_are_described_classes() -> None:
    assert set(CLASSES) <= set(padecast.targets.REGISTRY)


# Methods -------------------------------------------------------------------------------------------------------------


@every_plan
def test_a_plan_is_a_method(plan: Published) -> None:
    made = method(plan.written)
    assert (made.name, made.policy, made.forecaster, made.span) == (plan.written, plan.plan, DAMPED, "output")
    assert made.cites == ("tc-pade",) and plan.search in made.summary and plan.model in made.summary


@pytest.mark.parametrize("written", ["published:flux-50-9,damping=3", " published:flux-50-9 , damping=3 "])
def test_options_stand_behind_a_comma(written: str) -> None:
    made = method(written)
    assert made.policy == find("flux-50-9").plan and made.forecaster == TCPade(damping=3.0)
    assert made.name == "published:flux-50-9"


def test_the_registered_methods_are_what_they_were() -> None:
    assert not [name for name in padecast.methods() if name.startswith("published")]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("published:flux-50-99", "the nearest is 'flux-50-9'"),
        ("published:FLUX-50-13", "the nearest is 'flux-50-13'"),
        ("published:" + "x" * 10_000, "unknown published plan 'xxx"),
        ("published:", "published:NAME"),
        ("published", "published:NAME"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(written: str, said: str) -> None:
    with pytest.raises(UnknownName, match=re.escape(said)) as error:
        method(written)
    assert "padecast methods published lists all" in str(error.value) and "flux-50-9" in str(error.value)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UnknownName, match="the nearest is 'damping'"):
        method("published:flux-50-9,dampin=3")
    with pytest.raises(InvalidOption, match="'damping' of 'published:damping' has no value"):
        method("published:flux-50-9,damping")


# Runs ----------------------------------------------------------------------------------------------------------------


def flux_report(steps: int, *arguments: Any, **options: Any) -> Report:
    """Report of a run of a tiny FLUX pipeline."""
    pipe = flux_pipeline()
    with accelerate(pipe, *arguments, **options) as run:
        sample_flux(pipe, steps=steps)
    return run.report


def test_a_run_follows_the_plan_and_is_offered_none() -> None:
    report = flux_report(50, "published:flux-50-9")
    assert report.plan == find("flux-50-9").plan.steps
    assert report.method == "published:flux-50-9" and report.offers == ()


def test_another_forecaster_on_a_published_plan_is_offered_none() -> None:
    assert flux_report(50, policy=find("flux-50-9-l2p").plan, forecaster=Reuse()).offers == ()


def test_a_run_of_another_method_is_offered_the_plans_of_its_length() -> None:
    report = flux_report(50, "fora")
    assert report.offers == FLUX and report.to_dict()["offers"] == list(FLUX)
    said = f"note: searched plans of this model at 50 steps are published: {', '.join(FLUX)}"
    assert str(report).splitlines()[-1] == f"{said}; see padecast methods published"


def test_a_run_of_another_length_is_offered_none() -> None:
    report = flux_report(49, "fora")
    assert report.offers == () and "published" not in str(report)


def test_another_model_is_offered_none() -> None:
    pipe = dit_pipeline(transformer=dit())
    with accelerate(pipe, "fora") as run:
        sample_dit(pipe, steps=50, labels=(3,))
    assert run.report.offers == () and len(run.report.steps) == 50


def test_a_run_that_has_not_ended_is_offered_none() -> None:
    pipe, seen = flux_pipeline(), list[tuple[str, ...]]()

    def look(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 20:
            seen.append(run.report.offers)
        return tensors

    ended = list[Report]()
    with accelerate(pipe, "fora", on_run=ended.append) as run:
        sample_flux(pipe, steps=50, callback_on_step_end=look)
    assert seen == [()] and [report.offers for report in ended] == [FLUX]


@pytest.mark.parametrize("model", CLASSES)
def test_at_most_three_plans_are_offered_and_none_by_the_name_of_a_search(model: str) -> None:
    names = offers(model, 50)
    assert 2 <= len(names) <= 3 and offers(model, 49) == ()
    assert all(re.fullmatch(rf"published:{CLASSES[model]}-50-\d+", name) for name in names)
    assert all(method(name).policy == find(name.partition(":")[2]).plan for name in names)


def test_plans_of_ones_own_are_not_published() -> None:
    assert follows(Plan.at([0, 1, 2, 4, 6, 11, 24, 41, 49], 50)) and not follows(Plan("C" * 50))


def test_a_report_with_offers_is_read_back() -> None:
    steps = (StepReport(0, True, 0.1),)
    report = Report(steps, "C", 0, (), "fora", offers=FLUX)
    read = json.loads(report.to_json())
    assert Report(steps, "C", 0, (), "fora", offers=read["offers"]) == report


# Command line --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["60", "120", "200"])
def test_the_list_has_every_plan_with_its_search_and_source(columns: str) -> None:
    result = CliRunner().invoke(app, ["methods", "published"], env={"COLUMNS": columns})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for plan in list_published().values():
        row = next(line for line in lines if line.split()[:1] == [plan.written])
        number = re.search(r"\[\d+\]", row)
        assert number is not None and f"{number[0]} {plan.source}" in lines
        assert f" {plan.steps} " in row and f" {plan.plan.nfe} " in row


def test_the_list_for_scripts_has_all_of_a_plan() -> None:
    rows = json.loads(CliRunner().invoke(app, ["methods", "published", "--json"]).stdout)
    assert [{**row, "name": row["name"].partition(":")[2]} for row in rows] == ENTRIES


def test_one_plan_is_shown_with_its_options() -> None:
    shown = CliRunner().invoke(app, ["methods", "published:flux-50-9", "--json"])
    row = json.loads(shown.stdout)
    assert padecast.policies.REGISTRY.make(row["policy"]) == find("flux-50-9").plan
    assert "damping" in {option["option"] for option in row["options"]}
    text = CliRunner().invoke(app, ["methods", "published:flux-50-9"]).stdout
    assert "written published:flux-50-9,option=value" in text


def test_the_list_of_methods_says_where_plans_are_listed() -> None:
    assert "padecast methods published" in CliRunner().invoke(app, ["methods"]).stdout


def test_a_wrong_name_ends_the_command_with_2() -> None:
    result = CliRunner().invoke(app, ["methods", "published:flux-50-99"])
    assert result.exit_code == 2 and "the nearest is 'flux-50-9'" in result.output


def test_a_published_plan_is_cited_as_its_forecaster_is() -> None:
    assert padecast.cite("published:flux-50-9,damping=3") == padecast.cite("tc-pade")
