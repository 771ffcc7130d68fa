"""What is done in each kind of run, and how its outcome is judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from others.libraries import Library
from others.looking import Finding, Rig, apart, failed, judged, worst
from others.pipelines import (
    ROUNDING,
    STEPS,
    draw,
    flux,
    image_to_image,
    prompts,
    putting_back,
    quiet,
    steadied,
)


def plain(library: Library) -> Finding:
    expected = Rig(None).draw()
    computed = Rig(library, always=True)
    difference = apart(computed.draw(), expected)
    rig = Rig(library)
    lost = apart(rig.draw(), expected)
    text = f"with every step computed differs by {difference:.2g} from uncached, with steps skipped by {lost:.2g}"
    return judged(difference, expected, rig.watch, text)


def stopping(at: int) -> Callable[..., dict[str, Any]]:
    def stop(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            raise KeyboardInterrupt
        return {}

    return stop


def next_runs(count: int) -> dict[str, dict[str, Any]]:
    """What is drawn after an interrupted run."""
    same, other = prompts(count), prompts(count, first=9)
    return {
        "another seed": {"seed": 4, **same},
        "another prompt": other,
        "a similar prompt": {name: value + 0.1 * other[name] for name, value in same.items()},
    }


def interrupted(library: Library, at: int, expected: Tensor, second: dict[str, Any]) -> Finding:
    """Interrupt a run after one of its steps; the next one has to be that of a fresh pipeline."""
    rig = Rig(library)
    with contextlib.suppress(KeyboardInterrupt):
        rig.draw(callback_on_step_end=stopping(at))
    if library.tidy:
        rig.pipe.maybe_free_model_hooks()
    try:
        found = judged(apart(rig.draw(**second), expected), expected, rig.watch, "")
    except Exception as error:
        found = failed(error)
    return found


def after_interruption(library: Library, **changes: Any) -> Finding:
    """Interrupt after every step in turn, and draw another seed or prompt then."""
    findings: list[Finding] = []
    for what, second in next_runs(changes.get("count", 1)).items():
        fresh, second = Rig(library), {**second, **changes}
        expected = fresh.draw(**second)
        for at in range(STEPS - 1):
            found = interrupted(library, at, expected, second)
            text = f"; worst after step {at}, then {what}: {found.measured.strip('; ')}, not plan {fresh.watch.plan}"
            findings.append(replace(found, measured=text))
    found, bad = worst(findings), sum(f.verdict in ("exception", "wrong image") for f in findings)
    if not bad:
        return replace(found, measured=f"right after all {len(findings)} interruptions")
    return replace(found, measured=f"wrong after {bad} of {len(findings)} interruptions{found.measured}")


def steady(library: Library, make: Callable[..., Any], guided: bool = False, **options: Any) -> Finding:
    """Give the model the same input at every step."""
    uncached, rig = (Rig(one, lambda: steadied(make())) for one in (None, library))
    for each in (uncached, rig):
        each.draw(guided=guided, **putting_back(each.pipe), **options)
    right, got = torch.stack(uncached.watch.outputs), torch.stack(rig.watch.outputs)
    branches = 2 if guided else 1
    assert apart(right, right[:branches].repeat(len(right) // branches, *[1] * (right.dim() - 1))) < 1e-6
    text = f"steady run: outputs differ by {apart(got, right):.2g} from the uncached model"
    if branches > 1:
        text += f", whose branches differ by {apart(right[0], right[1]):.2g}"
    return judged(apart(got, right), right, rig.watch, text, ROUNDING)


def repeated(library: Library, make: Callable[..., Any], **options: Any) -> tuple[Finding, Rig]:
    """Draw twice with one pipeline: the second image has to be the first."""
    rig = Rig(library, make)
    first = rig.draw(**options)
    difference = apart(rig.draw(**options), first)
    return judged(difference, first, rig.watch, f"a second run differs by {difference:.2g}"), rig


def exact(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """With every step computed, the image has to be the uncached one."""
    expected = Rig(None, make).draw(**options)
    rig = Rig(library, make, always=True)
    difference = apart(rig.draw(**options), expected)
    found = judged(difference, expected, rig.watch, "")
    verdict = "wrong image" if found.verdict == "wrong image" else "right"
    return replace(found, verdict=verdict, measured=f"with every step computed differs by {difference:.2g}", plan=None)


def in_all(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """A kind of run: repeatable, exact with every step computed, exact in steady runs."""
    again, rig = repeated(library, make, **options)
    lost = apart(rig.draw(**options), Rig(None, make).draw(**options))
    found = [exact(library, make, **options), steady(library, make, **options), again]
    text = "; ".join([*dict.fromkeys(f.measured for f in found), f"the image differs by {lost:.2g} from uncached"])
    return replace(worst(found), measured=text, plan=again.plan)


def from_the_middle(library: Library) -> Finding:
    plain_run = Rig(library)
    plain_run.draw()
    found = in_all(library, image_to_image)
    ran = len(found.plan or "")
    return replace(
        found,
        measured=f"{found.measured}; its {ran} calls have the plan {found.plan}, in a whole run the same places have "
        f"{plain_run.watch.plan[-ran:]} and the first ones {plain_run.watch.plan[:ran]}",
    )


def of_two_branches(make: Callable[..., Any], **options: Any) -> Callable[[Library], Finding]:
    def scenario(library: Library) -> Finding:
        return in_all(library, make, guided=True, **options)

    return scenario


def beside(pipe: Any, kind: Any) -> Any:
    """Another pipeline with the same transformer and a scheduler of its own."""
    return quiet(kind.from_pipe(pipe, scheduler=diffusers.FlowMatchEulerDiscreteScheduler()))


def visited(library: Library, kind: Any, at: int, other: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw with the other pipeline in the middle of a run and after it: the two images, and that of the run."""
    rig, within = Rig(library), []
    guest = beside(rig.pipe, kind)

    def visit(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            within.append(draw(guest, **other))
        return {}

    host = rig.draw(callback_on_step_end=visit)
    return within[0], draw(guest, **other), host


def sharing(library: Library, kind: Any) -> Finding:
    """Let another pipeline on the same transformer draw: in the middle of a run of the first, and after it."""
    alone, other = Rig(library), prompts(1, first=9)
    first, untouched = alone.draw(), draw(beside(Rig(None).pipe, kind), **other)
    cached = Rig(library, lambda: beside(flux(), kind)).draw(**other)
    apart_by = [0.0, 0.0, 0.0]
    for at in range(STEPS - 1):
        during, after, host = visited(library, kind, at, other)
        found = (*(min(apart(image, untouched), apart(image, cached)) for image in (during, after)), apart(host, first))
        apart_by = [max(pair) for pair in zip(apart_by, found, strict=True)]
    is_cached = "neither" if apart_by[1] else "uncached" if torch.equal(after, untouched) else "cached too"
    text = f"the other's image differs by {apart_by[0]:.2g} in the middle of a run, by {apart_by[1]:.2g} after it "
    text += f"({is_cached}), that of the run by {apart_by[2]:.2g}"
    return replace(judged(max(apart_by), first, alone.watch, text), plan=None)


def enabled_late(library: Library) -> Finding:
    fresh = Rig(library)
    expected = fresh.draw()
    rig = Rig(None)
    rig.draw()
    rig.library = library
    rig.on()
    difference = apart(rig.draw(), expected)
    text = f"differs by {difference:.2g} from a pipeline that had it on from the start, plan {rig.watch.plan} for "
    return judged(difference, expected, rig.watch, text + fresh.watch.plan)


def holds(model: nn.Module, pipe: Any) -> dict[str, dict[str, Any]]:
    """What every part of a model, its pipeline and their classes hold: names, and which object each is."""

    def contents(thing: Any) -> dict[str, Any]:
        items = dict(vars(thing)).items()
        return {key: tuple(value.items()) if isinstance(value, dict) else id(value) for key, value in items}

    found = {f"transformer.{name}": contents(part) for name, part in model.named_modules()}
    classes = {kind for part in model.modules() for kind in type(part).__mro__} | {*type(pipe).__mro__}
    found |= {f"class {kind.__qualname__}": contents(kind) for kind in classes if kind is not object}
    return {**found, "pipeline": contents(pipe)}


def disabled(library: Library) -> Finding:
    """Compare all that model, pipeline and classes hold after a run without it, and after a run with it and its end."""
    rig = Rig(None)
    rig.watch.remove()
    expected = draw(rig.pipe)
    before = holds(rig.pipe.transformer, rig.pipe)
    rig.library = library
    rig.on()
    draw(rig.pipe)
    rig.off()
    after = holds(rig.pipe.transformer, rig.pipe)
    left = sorted({key for name in before for key in after[name] if after[name][key] != before[name].get(key)})
    gone = sorted({key for name in before for key in before[name] if key not in after[name]})
    where = sum(before[name] != after[name] for name in before)
    difference = apart(draw(rig.pipe), expected)
    text = f"the image differs by {difference:.2g} from before; changed on {where} of {len(before)} modules and classes"
    if left or gone:
        text += f": left {', '.join(left) or 'nothing'}, lost {', '.join(gone) or 'nothing'}"
    verdict = "wrong image" if difference else "left behind" if left or gone else "right"
    return Finding(verdict, text, difference, float(expected.abs().max()))


def mates(library: Library) -> Finding:
    """Draw one sample beside several others; with another threshold too where there is one."""
    found = beside_mates(library)
    if library.also is None:
        return found
    words, on = library.also
    other = beside_mates(replace(library, on=on))
    return replace(worst([found, other]), measured=f"{found.measured}; with {words} {other.measured}")


def beside_mates(library: Library) -> Finding:
    rig, uncached = Rig(library), Rig(None)
    alone, expected = rig.draw(), uncached.draw()
    plans, difference, rounding = {rig.watch.plan}, 0.0, 0.0
    for mate in range(7, 19):
        options = {"count": 2, **prompts(2, mate, strength=float(mate - 6))}
        difference = max(difference, apart(rig.draw(**options)[:1], alone))
        plans.add(rig.watch.plan)
        rounding = max(rounding, apart(uncached.draw(**options)[:1], expected))
    text = f"differs by up to {difference:.2g} from the sample drawn alone, uncached by {rounding:.2g} (rounding); "
    found = judged(difference, alone, rig.watch, text + f"plans {', '.join(sorted(plans))}", ROUNDING)
    return replace(found, verdict="by design" if found.verdict == "wrong image" else found.verdict, plan=None)
