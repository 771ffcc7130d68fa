"""``padecast methods``, ``models`` and ``cite``: what is registered."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

import padecast
from padecast import forecasters, policies, targets
from padecast._errors import unknown
from padecast.cli._files import as_json
from padecast.cli._shell import stdout
from padecast.cli._tables import new_table
from padecast.lab import peers
from padecast.methods import DEFAULT, Method, look_up, split
from padecast.methods.citations import BIBTEX
from padecast.policies.published import WORD, list_published

JSON = typer.Option(False, "--json", help="Print JSON for scripts.")
POLICIES = "policies"
WIDE = 120  # columns from which the parts of a method stand in the table itself


def methods(
    name: str = typer.Argument(
        "", help="One method, to see its options; published: the plans of searches; policies: when to compute."
    ),
    json: bool = JSON,
) -> None:
    """List the methods: when they compute, with what they forecast, and where they come from."""
    if name == WORD:
        return _show_published(json=json)
    if name == POLICIES:
        return _show_policies(json=json)
    if name:
        return _show_method(look_up(split(name)[0]), json=json)
    rows = [_method(method) for method in padecast.methods().values()]
    if json:
        return typer.echo(as_json(rows))
    console = stdout()
    wide = console.width >= WIDE
    table = new_table("method", *(("computes", "forecasts by") if wide else ()), "what it is", "source")
    for row in rows:
        parts = (_fold(row["policy"]), _fold(row["forecaster"])) if wide else ()
        table.add_row(row["name"], *parts, row["summary"], "; ".join(row["sources"]) or "padecast")
    _keep_whole(table, "method", "source")
    console.print(table, highlight=False, markup=False)
    hint = f"default: {DEFAULT}; options are written tc-pade:every=3, and listed by: padecast methods tc-pade"
    console.print(hint, style="dim", highlight=False, soft_wrap=True)
    console.print(f"plans that searches found: padecast methods {WORD}", style="dim", highlight=False, soft_wrap=True)
    hint = f"policies, also those around others: padecast methods {POLICIES}"
    console.print(hint, style="dim", highlight=False, soft_wrap=True)
    hint = f"other libraries' caches, for compare and lab run: {', '.join(sorted(peers.REGISTRY))}"
    console.print(hint, style="dim", highlight=False, soft_wrap=True)


def models(
    name: str = typer.Argument("", help="Part of the name of a model class or a pipeline, such as flux."),
    json: bool = JSON,
) -> None:
    """List the model classes that are described, their spans, where they occur and on what they are tested."""
    rows: list[dict[str, Any]] = [
        {
            "model": target.model,
            "spans": target.spans,
            "pipelines": list(target.pipelines),
            "tested": target.tested,
        }
        for target in _targets(name)
    ]
    if json:
        return typer.echo(as_json(rows))
    console = stdout()
    wide = console.width >= WIDE
    table = new_table("model class", "span", "block lists", *(("pipelines", "tested on") if wide else ()))
    for row in rows:
        where = (_fold(", ".join(row["pipelines"])), _fold(row["tested"])) if wide else ()
        for place, (span, lists) in enumerate(row["spans"].items()):
            blocks = ", ".join(name or "the model itself" for name in lists)
            table.add_row(row["model"] if place == 0 else "", span, blocks, *(where if place == 0 else ()))
    _keep_whole(table, "model class", "span")
    table.columns[2].min_width = max(len(word) for row in rows for lists in row["spans"].values() for word in lists) + 1
    console.print(table, highlight=False, markup=False)
    if name and not wide:
        for row in rows:
            console.print(f"{row['model']}: {', '.join(row['pipelines'])}; {row['tested']}", highlight=False)
    also = f'{len(rows)} classes. Of any other model, span="output" or "difference" forecasts what it returns.'
    console.print(also, style="dim", highlight=False, soft_wrap=True)


def cite(method: str = typer.Argument(help="A registered method, such as tc-pade.")) -> None:
    """Print whom to cite for a method, as BibTeX."""
    typer.echo(padecast.cite(method))


def _targets(name: str) -> list[targets.Target]:
    """Return the described classes that have a word in their name or in that of a pipeline; all without one."""
    word = name.lower()
    matches = [
        target
        for target in targets.REGISTRY.values()
        if any(word in label.lower() for label in (target.model, *target.pipelines))
    ]
    if not matches:
        raise unknown("model class", name, targets.REGISTRY)
    return matches


def _show_published(*, json: bool) -> None:
    """Print the plans that searches found, with the indices of the computed steps; sources stand below by number."""
    plans = list_published().values()
    if json:
        rows = [
            {
                "name": plan.written,
                "model": plan.model,
                "steps": plan.steps,
                "computed": plan.plan.nfe,
                "plan": list(plan.plan.indices),
                "search": plan.search,
                "source": plan.source,
            }
            for plan in plans
        ]
        return typer.echo(as_json(rows))
    console = stdout()
    sources = list(dict.fromkeys(plan.source for plan in plans))
    table = new_table("name", "model", ">steps", ">computed", "plan", "search", ">source")
    for plan in plans:
        indices, source = " ".join(map(str, plan.plan.indices)), f"[{sources.index(plan.source) + 1}]"
        table.add_row(plan.written, plan.model, str(plan.steps), str(plan.plan.nfe), indices, plan.search, source)
    _keep_whole(table, "name")
    console.print(table, highlight=False, markup=False)
    for number, source in enumerate(sources, 1):
        console.print(f"[{number}] {source}", highlight=False, soft_wrap=True)
    hint = f"written {WORD}:NAME, with options behind a comma: {WORD}:flux-50-9,damping=3"
    console.print(hint, style="dim", highlight=False, soft_wrap=True)


def _show_policies(*, json: bool) -> None:
    """Print all policies, what they do, and their options with defaults."""
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "what": _flatten(inspect.cleandoc(part.__doc__ or "").split("\n\n")[0]),
            "options": {
                field.name: _plain(getattr(example, field.name)) for field in dataclasses.fields(example) if field.init
            },
        }
        for name, part in policies.REGISTRY.items()
        for example in [policies.REGISTRY.make(name)]
    ]
    if json:
        return typer.echo(as_json(rows))
    console = stdout()
    table = new_table("policy", "what it does", "options")
    for row in rows:
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        table.add_row(row["name"], row["what"], _fold(options))
    _keep_whole(table, "policy")
    console.print(table, highlight=False, markup=False)
    hint = "in Python: padecast.policies, and accelerate(pipe, policy=...) or Session(policy, forecaster, ...)"
    console.print(hint, style="dim", highlight=False, soft_wrap=True)


def _show_method(method: Method, *, json: bool) -> None:
    """Print what a method is, its options with their defaults and meanings, and its sources."""
    parts: dict[str, tuple[Any, Any]] = {
        "policy": (method.policy, policies.REGISTRY),
        "forecaster": (method.forecaster, forecasters.REGISTRY),
    }
    options = [
        {"option": field.name, "default": _plain(getattr(part, field.name)), "of": registry.name_of(part), "what": what}
        for part, registry in parts.values()
        for field, what in _options(part)
    ]
    sources = [text for part, _ in parts.values() if (text := _section(part, "Reference"))]
    if json:
        return typer.echo(as_json({**_method(method), "options": options, "references": sources}))
    console = stdout()
    of = ", ".join(f"{role} {registry.name_of(part)}" for role, (part, registry) in parts.items())
    console.print(f"{method.name}: {method.summary}", style="bold", soft_wrap=True)
    console.print(f"{of}, span {method.span}; needs {', '.join(method.needs)}", soft_wrap=True)
    table = new_table("option", "default", "what it does, and its range")
    for row in options:
        table.add_row(row["option"], _fold(row["default"]), row["what"])
    _keep_whole(table, "option")
    console.print(table)
    for text in dict.fromkeys(sources):
        console.print(text, style="dim")
    sign = "," if ":" in method.name else ":"
    console.print(f"written {method.name}{sign}option=value; whom to cite: padecast cite {method.name}", style="dim")


def _options(part: Any) -> Iterable[tuple[dataclasses.Field[Any], str]]:
    """Give the options of a part, and what its docstring says of each."""
    docs = dict(re.findall(r"^(\w+): ((?:.+\n?(?:[ ]+.+\n?|\n)*))", _section(part, "Args", joined=False), re.MULTILINE))
    for field in dataclasses.fields(part):
        if field.init:
            yield field, _flatten(docs.get(field.name, ""))


def _section(part: Any, title: str, *, joined: bool = True) -> str:
    """Return the text under a title of a part's docstring."""
    text = inspect.cleandoc(type(part).__doc__ or "")
    match = re.search(rf"^{title}:\n((?:[ ]+.*\n?|\n)+)", text + "\n", flags=re.MULTILINE)
    body = inspect.cleandoc(match[1]) if match else ""
    return _flatten(body) if joined else body


def _flatten(text: str) -> str:
    """Write a piece of a docstring as one paragraph without its marks."""
    plain = re.sub(r":\w+:`~?\.?([^`]+)`", r"\1", text).replace("``", "")
    return " ".join(plain.split())


def _plain(value: Any) -> str:
    """Write a default as it is written in a method's options."""
    for registry in (policies.REGISTRY, forecasters.REGISTRY):
        if any(part is type(value) for part in registry.values()):
            return registry.name_of(value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _fold(text: str) -> Text:
    """Break a text where it must be: nothing of it is cut."""
    return Text(text, overflow="fold")


def _keep_whole(table: Table, *columns: str) -> None:
    """Never break or cut what stands in these columns."""
    for column in table.columns:
        if column.header in columns:
            column.no_wrap, column.min_width = True, max(map(len, map(str, column.cells)), default=0)


def _method(method: Method) -> dict[str, Any]:
    entries = [BIBTEX[key] for key in method.cites]
    return {
        "name": method.name,
        "summary": method.summary,
        "policy": _part(method.policy, policies.REGISTRY, number=True),
        "forecaster": _part(method.forecaster, forecasters.REGISTRY),
        "span": method.span,
        "sources": [f"arXiv:{match[1]}" for entry in entries if (match := re.search(r"arXiv:(\d+\.\d+)", entry))],
        "needs": list(method.needs),
        "cites": list(method.cites),
    }


def _part(part: Any, registry: Any, *, number: bool = False) -> str:
    """Write a part as ``name:option=value``: the options that are not its defaults, and its first number if wanted."""
    plain = type(part)()
    options = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    first = next((key for key, value in options.items() if number and isinstance(value, int | float)), None)
    changed = [
        f"{key}={value if isinstance(value, str) else str(value).lower()}"
        for key, value in options.items()
        if key == first or value != getattr(plain, key)
    ]
    name = registry.name_of(part)
    return f"{name}:{','.join(changed)}" if changed else str(name)
