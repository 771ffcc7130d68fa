"""What is done in each kind of run, and how its outcome is judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from benchmarks.common import hush
from benchmarks.others.libraries import Library
from benchmarks.others.pipelines import ROUNDING, STEPS, draw, flux, image_to_image, prompts, put_back, steady
from benchmarks.others.rig import Finding, Rig, distance, judge, tell_failure, worst


def run_plainly(library: Library) -> Finding:
    expected = Rig(None).draw()
    computed = Rig(library, always=True)
    difference = distance(computed.draw(), expected)
    rig = Rig(library)
    lost = distance(rig.draw(), expected)
    text = f"with every step computed differs by {difference:.2g} from uncached, with steps skipped by {lost:.2g}"
    return judge(difference, expected, rig.plan, text)


def stop_at(at: int) -> Callable[..., dict[str, Any]]:
    def stop(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            raise KeyboardInterrupt
        return {}

    return stop


def list_next(count: int) -> dict[str, dict[str, Any]]:
    """What is drawn after an interrupted run."""
    same, other = prompts(count), prompts(count, first=9)
    return {
        "another seed": {"seed": 4, **same},
        "another prompt": other,
        "a similar prompt": {name: value + 0.1 * other[name] for name, value in same.items()},
    }


def interrupt(library: Library, at: int, expected: Tensor, second: dict[str, Any]) -> Finding:
    """Interrupt a run after one of its steps; the next one has to be that of a fresh pipeline."""
    rig = Rig(library)
    with contextlib.suppress(KeyboardInterrupt):
        rig.draw(callback_on_step_end=stop_at(at))
    if library.tidy:
        rig.pipe.maybe_free_model_hooks()
    try:
        finding = judge(distance(rig.draw(**second), expected), expected, rig.plan, "")
    except Exception as error:
        finding = tell_failure(error)
    return finding


def run_after_interruption(library: Library, **changes: Any) -> Finding:
    """Interrupt after every step in turn, and draw another seed or prompt then."""
    findings: list[Finding] = []
    for what, second in list_next(changes.get("count", 1)).items():
        fresh, second = Rig(library), {**second, **changes}
        expected = fresh.draw(**second)
        for at in range(STEPS - 1):
            finding = interrupt(library, at, expected, second)
            text = f"; worst after step {at}, then {what}: {finding.measured.strip('; ')}, not plan {fresh.plan}"
            findings.append(replace(finding, measured=text))
    finding, bad = worst(findings), sum(f.verdict in ("exception", "wrong image") for f in findings)
    if not bad:
        return replace(finding, measured=f"right after all {len(findings)} interruptions")
    return replace(finding, measured=f"wrong after {bad} of {len(findings)} interruptions{finding.measured}")


def run_steadily(library: Library, make: Callable[..., Any], guided: bool = False, **options: Any) -> Finding:
    """Give the model the same input at every step."""
    uncached, rig = (Rig(which, lambda: steady(make())) for which in (None, library))
    for each in (uncached, rig):
        each.draw(guided=guided, **put_back(each.pipe), **options)
    right, got = torch.stack(uncached.outputs), torch.stack(rig.outputs)
    branches = 2 if guided else 1
    assert distance(right, right[:branches].repeat(len(right) // branches, *[1] * (right.dim() - 1))) < 1e-6
    text = f"steady run: outputs differ by {distance(got, right):.2g} from the uncached model"
    if branches > 1:
        text += f", whose branches differ by {distance(right[0], right[1]):.2g}"
    return judge(distance(got, right), right, rig.plan, text, ROUNDING)


def repeat(library: Library, make: Callable[..., Any], **options: Any) -> tuple[Finding, Rig]:
    """Draw twice with one pipeline: the second image has to be the first."""
    rig = Rig(library, make)
    first = rig.draw(**options)
    difference = distance(rig.draw(**options), first)
    return judge(difference, first, rig.plan, f"a second run differs by {difference:.2g}"), rig


def run_exactly(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """With every step computed, the image has to be the uncached one."""
    expected = Rig(None, make).draw(**options)
    rig = Rig(library, make, always=True)
    difference = distance(rig.draw(**options), expected)
    finding = judge(difference, expected, rig.plan, "")
    verdict = "wrong image" if finding.verdict == "wrong image" else "right"
    return replace(
        finding, verdict=verdict, measured=f"with every step computed differs by {difference:.2g}", plan=None
    )


def run_in_all(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """A kind of run: repeatable, exact with every step computed, exact in steady runs."""
    again, rig = repeat(library, make, **options)
    lost = distance(rig.draw(**options), Rig(None, make).draw(**options))
    finding = [run_exactly(library, make, **options), run_steadily(library, make, **options), again]
    text = "; ".join([*dict.fromkeys(f.measured for f in finding), f"the image differs by {lost:.2g} from uncached"])
    return replace(worst(finding), measured=text, plan=again.plan)


def begin_in_the_middle(library: Library) -> Finding:
    whole = Rig(library)
    whole.draw()
    finding = run_in_all(library, image_to_image)
    ran = len(finding.plan or "")
    text = f"its {ran} calls have the plan {finding.plan}, in a whole run the same places have {whole.plan[-ran:]} "
    return replace(finding, measured=f"{finding.measured}; {text}and the first ones {whole.plan[:ran]}")


def run_two_branches(make: Callable[..., Any], **options: Any) -> Callable[[Library], Finding]:
    def scenario(library: Library) -> Finding:
        return run_in_all(library, make, guided=True, **options)

    return scenario


def join(pipe: Any, kind: Any) -> Any:
    """Another pipeline with the same transformer and a scheduler of its own."""
    return hush(kind.from_pipe(pipe, scheduler=diffusers.FlowMatchEulerDiscreteScheduler()))


def visit(library: Library, kind: Any, at: int, other: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw with the other pipeline in the middle of a run and after it: the two images, and that of the run."""
    rig, within = Rig(library), []
    guest = join(rig.pipe, kind)

    def pause(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            within.append(draw(guest, **other))
        return {}

    host = rig.draw(callback_on_step_end=pause)
    return within[0], draw(guest, **other), host


def share(library: Library, kind: Any) -> Finding:
    """Let another pipeline on the same transformer draw: in the middle of a run of the first, and after it."""
    alone, other = Rig(library), prompts(1, first=9)
    first, untouched = alone.draw(), draw(join(Rig(None).pipe, kind), **other)
    cached = Rig(library, lambda: join(flux(), kind)).draw(**other)
    apart_by = [0.0, 0.0, 0.0]
    for at in range(STEPS - 1):
        during, after, host = visit(library, kind, at, other)
        finding = (
            *(min(distance(image, untouched), distance(image, cached)) for image in (during, after)),
            distance(host, first),
        )
        apart_by = [max(pair) for pair in zip(apart_by, finding, strict=True)]
    is_cached = "neither" if apart_by[1] else "uncached" if torch.equal(after, untouched) else "cached too"
    text = f"the other's image differs by {apart_by[0]:.2g} in the middle of a run, by {apart_by[1]:.2g} after it "
    text += f"({is_cached}), that of the run by {apart_by[2]:.2g}"
    return replace(judge(max(apart_by), first, alone.plan, text), plan=None)


def enable_late(library: Library) -> Finding:
    fresh = Rig(library)
    expected = fresh.draw()
    rig = Rig(None)
    rig.draw()
    rig.library = library
    rig.on()
    difference = distance(rig.draw(), expected)
    text = f"differs by {difference:.2g} from a pipeline that had it on from the start, plan {rig.plan} for "
    return judge(difference, expected, rig.plan, text + fresh.plan)


def list_contents(model: nn.Module, pipe: Any) -> dict[str, dict[str, Any]]:
    """What every part of a model, its pipeline and their classes hold: names, and which object each is."""

    def contents(thing: Any) -> dict[str, Any]:
        items = dict(vars(thing)).items()
        return {key: tuple(value.items()) if isinstance(value, dict) else id(value) for key, value in items}

    finding = {f"transformer.{name}": contents(part) for name, part in model.named_modules()}
    classes = {kind for part in model.modules() for kind in type(part).__mro__} | {*type(pipe).__mro__}
    finding |= {f"class {kind.__qualname__}": contents(kind) for kind in classes if kind is not object}
    return {**finding, "pipeline": contents(pipe)}


def disable(library: Library) -> Finding:
    """Compare all that model, pipeline and classes hold after a run without it, and after a run with it and its end."""
    rig = Rig(None)
    rig.remove()
    expected = draw(rig.pipe)
    before = list_contents(rig.pipe.transformer, rig.pipe)
    rig.library = library
    rig.on()
    draw(rig.pipe)
    rig.off()
    after = list_contents(rig.pipe.transformer, rig.pipe)
    left = sorted({key for name in before for key in after[name] if after[name][key] != before[name].get(key)})
    gone = sorted({key for name in before for key in before[name] if key not in after[name]})
    where = sum(before[name] != after[name] for name in before)
    difference = distance(draw(rig.pipe), expected)
    text = f"the image differs by {difference:.2g} from before; changed on {where} of {len(before)} modules and classes"
    if left or gone:
        text += f": left {', '.join(left) or 'nothing'}, lost {', '.join(gone) or 'nothing'}"
    verdict = "wrong image" if difference else "left behind" if left or gone else "right"
    return Finding(verdict, text, difference, float(expected.abs().max()))


def draw_mates(library: Library) -> Finding:
    """Draw one sample beside several others; with another threshold too where there is one."""
    finding = draw_beside(library)
    if library.also is None:
        return finding
    words, use = library.also
    other = draw_beside(replace(library, use=use))
    return replace(worst([finding, other]), measured=f"{finding.measured}; with {words} {other.measured}")


def draw_beside(library: Library) -> Finding:
    rig, uncached = Rig(library), Rig(None)
    alone, expected = rig.draw(), uncached.draw()
    plans, difference, rounding = {rig.plan}, 0.0, 0.0
    for mate in range(7, 19):
        options = {"count": 2, **prompts(2, mate, strength=float(mate - 6))}
        difference = max(difference, distance(rig.draw(**options)[:1], alone))
        plans.add(rig.plan)
        rounding = max(rounding, distance(uncached.draw(**options)[:1], expected))
    text = f"differs by up to {difference:.2g} from the sample drawn alone, uncached by {rounding:.2g} (rounding); "
    finding = judge(difference, alone, rig.plan, text + f"plans {', '.join(sorted(plans))}", ROUNDING)
    return replace(finding, verdict="by design" if finding.verdict == "wrong image" else finding.verdict, plan=None)
