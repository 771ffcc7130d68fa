"""The page of plans beside searched ones, docs/plans.md, from what benchmarks/plans.py measured and fitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

Document = dict[str, Any]
SEARCHES = {"Golden Path's exhaustive search": "exhaustive"}
"""What searches are called in the tables, where not by their name."""


def page(found: Document, demos: Document, names: tuple[str, str]) -> str:
    """Write the page.

    Args:
        found: What was fitted.
        demos: What was measured of the demo models.
        names: Of the result files of both.
    """
    parts = (compared_with_searches(found), by_model(found), of_demos(demos), of_the_fit(found))
    return "\n".join([*(line for part in parts for line in part), *made_from(found, demos, names)])


def compared_with_searches(found: Document) -> list[str]:
    """Return what the rule is, and how far it is from plans that were searched."""
    errors, shipped, settings = found["errors"], found["shipped"], found["settings"]
    c, least = shipped["factor"], shipped["least"]
    rows, titles = found["rows"], {name: model["title"] for name, model in found["models"].items()}
    number = sum(len(row["searched"]) for row in rows)
    far = max(rows, key=lambda row: min(row["errors"].values()))
    wide = max((row for row in rows if row["searches"] is not None), key=lambda row: row["searches"])
    return [
        "# Plans of the rule, and searched ones",
        "",
        "<!-- written by benchmarks/plans.py from benchmarks/results/plans.json and plans-demos.json -->",
        "",
        "`tc-pade` computes a given number of steps. Which ones, a rule with two constants says: they are even in the "
        f"root of the effective noise level, with kappa = c √(D + D₀) n/m, c = {c:g}, D₀ = {least:g} "
        "(`padecast.policies.Spaced`; D numbers in a sample's latents, m of n steps computed). Others searched such "
        f"plans on real models. This page puts both side by side: {number} searched plans of {settings['steps']} "
        "steps, published; we ran none of these models.",
        "",
        "The error of a plan is how far its j-th computed step lies from the j-th of the searched plan, on average "
        "over the computed steps, in % of the number of steps.",
        "",
        "| compared with the searched plans | error, % of the steps |",
        "|---|---:|",
        f"| even spacing | {errors['even']:.1f} |",
        f"| the rule, one pair of constants for all models | {errors['rule']:.1f} |",
        f"| the rule, kappa free for every model and number | {errors['kappa free']:.1f} |",
        f"| the rule, kappa free for every single plan | {errors['kappa free for each']:.1f} |",
        f"| one search against another, same model and number | {errors['searches among themselves']:.1f} |",
        f"| the rule against the mean of the searches | {errors['rule to the mean of searches']:.1f} |",
        *(f"| the rule against {name} alone | {error:.1f} |" for name, error in by_search(rows).items()),
        "",
        "The searches disagree among themselves about as much as the rule disagrees with them. So a better fit to "
        "these plans need not be a better rule. The rule lies closest to MeanCache, whose plans are the smoothest. "
        f"The searches are farthest apart for {name_of(wide, titles)}: {wide['searches']:.1f} %. Without that, they "
        f"are {without(rows, wide, 'searches'):.1f} % apart, and the rule is {without(rows, wide, 'error'):.1f} % from "
        f"them. Farthest from every search is the rule for {name_of(far, titles)}: "
        f"{min(far['errors'].values()):.1f} % from the nearest. What images under its plans are worth, only a run of "
        "the model shows.",
    ]


def by_model(found: Document) -> list[str]:
    """Return every model's plans."""
    lines = list[str]()
    for name, model in found["models"].items():
        lines += ["", f"## {model['title']}", "", about(model, found["by model"][name]), ""]
        lines += model_table([row for row in found["rows"] if row["model"] == name])
    return lines


def of_demos(demos: Document) -> list[str]:
    """Return what plans of several densities are worth on the demo models."""
    return [
        "",
        "## Demo models",
        "",
        f"Mean PSNR in dB to the uncached images, {demos['settings']['steps']} steps, by the density: a factor of "
        "kappa, 1 in the rule. More computes more steps at the start. The demo models are the matched ones, on "
        "development seeds: "
        + ", ".join(f"{len(demo['seeds'])} of {short(name)}" for name, demo in demos["demos"].items())
        + ", too few for differences below a decibel. Forecasts are those of `tc-pade`. "
        "Best of a row in bold; equal plans have equal figures.",
        "",
        *demo_table(demos),
        "",
    ]


def of_the_fit(found: Document) -> list[str]:
    """Return how the constants were fitted, and how flat the sum is."""
    shipped, best = found["shipped"], found["fitted"]
    settings, valley, near, varies = found["settings"], found["valley"], found["settings"]["near"], found["varies"]
    return [
        "## The fit",
        "",
        "c and D₀ make a sum smallest: the mean error to the searched plans, in % of the steps, and the demos' mean "
        f"loss in dB against the best density, times {settings['weight']:g}. Between densities the loss is "
        "interpolated over log kappa, and beyond the outermost it is theirs. The weight lets real models decide c, and "
        f"the demos what those leave open: between densities {near[0]:g} and {near[-1]:g} the error varies by "
        f"{varies['error']:.1f} %, and the loss by {varies['loss']:.0f} dB, which count as "
        f"{varies['loss'] * settings['weight']:.1f} %.",
        "",
        "| constants | c | D₀ | error, % | loss, dB | sum |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {words} | {at['factor']:.4f} | {at['least']:g} | {at['error']:.2f} | {at['loss']:.2f} "
            f"| {at['sum']:.2f} |"
            for words, at in (
                ("shipped", shipped),
                ("best of the grid", best),
                ("best for the searched plans alone", found["plans alone"]),
                ("best for the demos alone", found["demos alone"]),
            )
        ),
        "",
        f"The sum is flat: within {settings['valley']:g} of the smallest are c from {valley['factor'][0]:.3f} to "
        f"{valley['factor'][1]:.3f}, and D₀ from {valley['least'][0]:g} to {valley['least'][1]:g}. The shipped "
        f"constants are {shipped['sum'] - best['sum']:.2f} above the smallest, at the dense end: too even a plan "
        "costs tens of decibels, too dense a one a few. No density suits every demo: with the shipped constants they "
        f"lose {shipped['loss']:.1f} dB on average against the best density of each. Enlarged demos count as others "
        "do: they have the trajectories of the small ones, at so many times the kappa.",
        "",
    ]


def made_from(found: Document, demos: Document, names: tuple[str, str]) -> list[str]:
    """Return where plans are published, and by which commands the rest was made."""
    return [
        "## Sources",
        "",
        *sources(found["rows"]),
        "",
        f"Demos: `benchmarks/results/{names[1]}`, made by `python benchmarks/{demos['provenance']['command']}`. "
        f"All else: `benchmarks/results/{names[0]}`, made by `python benchmarks/{found['provenance']['command']}`.",
        "",
    ]


def about(model: Document, error: float) -> str:
    """Return what the rule knows of a model, and its error there."""
    stretched = f", stretched to end at {model['terminal']:g}" if model["terminal"] is not None else ""
    return (
        f"{model['size']:,} numbers in a sample's latents, shift {model['shift']:.3g}{stretched}. Error {error:.1f} %."
    )


def model_table(rows: list[Document]) -> list[str]:
    """Return the plans of one model, the rule's before those that were searched."""
    lines = ["| computed | plan | steps | error of the rule, % |", "|---:|---|---|---:|"]
    for row in rows:
        lines.append(f"| {row['computed']} | **rule** | {listed(row['rule'])} | |")
        for name, plan in row["searched"].items():
            search = row["searches by"][name]
            words = f"{SEARCHES.get(search, search)}, published"
            lines.append(f"| {row['computed']} | {words} | {listed(plan)} | {row['errors'][name]:.1f} |")
    return lines


def demo_table(demos: Document) -> list[str]:
    """Return the PSNR of the demos by density."""
    densities = demos["settings"]["densities"]
    lines = [
        "| demo | computed | " + " | ".join(f"{density:g}" for density in densities) + " |",
        "|---|---:|" + "---:|" * len(densities),
    ]
    for name, demo in demos["demos"].items():
        for count in demos["settings"]["counts"]:
            values = [round(row["psnr"], 1) for row in demo["rows"] if row["computed"] == count]
            shown = [f"**{value:.1f}**" if value == max(values) else f"{value:.1f}" for value in values]
            lines.append(f"| {short(name)} | {count} | " + " | ".join(shown) + " |")
    return lines


def sources(rows: list[Document]) -> list[str]:
    """Return where the searched plans are published, each source once."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name, source in row["sources"].items():
            names[source].append(f"`{name}`")
    return [f"- {source}: {', '.join(which)}" for source, which in names.items()]


def name_of(row: Document, titles: dict[str, str]) -> str:
    """Return model and number of a row in words."""
    return f"{titles[row['model']].partition(',')[0]} with {row['computed']} computed steps"


def without(rows: list[Document], left_out: Document, key: str) -> float:
    """Return a mean over all rows but one."""
    return fmean(row[key] for row in rows if row is not left_out and row[key] is not None)


def by_search(rows: list[Document]) -> dict[str, float]:
    """Return the mean error of the rule against the plans of every search."""
    errors: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, error in row["errors"].items():
            errors[row["searches by"][name]].append(error)
    return {name: fmean(several) for name, several in errors.items()}


def listed(plan: Sequence[int]) -> str:
    """Write a plan index by index."""
    return " ".join(map(str, plan))


def short(name: str) -> str:
    """Return a demo model's name without its setting."""
    return name.partition(":")[0]
