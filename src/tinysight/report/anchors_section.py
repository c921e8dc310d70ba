"""The parts of a page on anchors: the sets, how many to take, how they compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinysight.numerals import GAP_DIGITS, counted, gap_percent, rounded_down, rounded_up
from tinysight.report.anchor_charts import elbow_chart
from tinysight.report.chart_style import BLUE, GREEN, PURPLE, VERMILLION
from tinysight.report.page import (
    Block,
    Callout,
    Column,
    Facts,
    Figure,
    Fold,
    Key,
    Section,
    Table,
    Text,
    Widget,
)

if TYPE_CHECKING:
    from tinysight.boxes.analysis import AnchorAnalysis, BoxAnalysis
    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.choice_of_k import ChoiceOfK
    from tinysight.boxes.verdict import Verdict

MOST_CLASS_ROWS = 2_000
"""Classes that have a row in a table of the page; tens of thousands would make it slow to open."""

_RULE_NAMES = {
    "kneedle": "kneedle on the log WCSS",
    "chord": "farthest from the chord of the log WCSS",
    "silhouette": "largest silhouette",
    "gain": "last k before one more anchor raises the mean IoU by less than 0.02",
}
_SHORT_RULE_NAMES = {
    "kneedle": "kneedle",
    "chord": "the chord",
    "silhouette": "the silhouette",
    "gain": "the gain in mean IoU",
}


def sets_section(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> Section:
    """Build the section on the sets of anchors themselves."""
    width, height = analysis.input_size_wh
    blocks: list[Block] = [_verdict_callout(anchors.verdict)]
    if analysis.left_out_ks:
        ks = ", ".join(map(str, analysis.left_out_ks))
        blocks.append(
            Text(
                f"There are no anchors for k = {ks}: there are fewer distinct box sizes than that."
            )
        )
    blocks += [_widget(analysis, anchors), _sets_table(analysis, anchors)]
    lead = f"For an input of {width} × {height} px ({analysis.fit}), fitted to the mean best IoU."
    return Section("anchors", "Anchors", tuple(blocks), lead=lead)


def _verdict_callout(verdict: Verdict) -> Callout:
    is_good = verdict.keep_default and verdict.can_be_told
    return Callout("good" if is_good else "note", verdict.text)


def _widget(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> Widget:
    sizes = [
        number
        for (width, height), share in zip(
            anchors.points.wh.tolist(), anchors.points.weights.tolist(), strict=True
        )
        for number in map(_short, (width, height, share * anchors.num_boxes))
    ]
    chosen = next(index for index, one in enumerate(anchors.curve) if one.k == anchors.chosen.k)
    return Widget(
        kind="anchors",
        name="anchor-sets",
        title="Anchors for each k",
        data={
            "input": analysis.input_size_wh,
            "sizes": sizes,
            "sets": [
                {
                    "k": one.k,
                    "anchors": [[_short(side) for side in wh] for wh in one.anchors_wh_px.tolist()],
                    "said": _said(one),
                }
                for one in anchors.curve
            ],
        },
        options={
            "last": len(anchors.curve) - 1,
            "chosen": chosen,
            "sizes_alt": "Box sizes by width and height, coloured by their best anchor.",
            "shapes_alt": "The anchors to scale in the input of the network.",
            "caption": f"{counted(anchors.num_boxes, 'box', 'boxes')}, drawn as "
            f"{counted(len(anchors.points.weights), 'dot')}; a larger dot stands for more "
            "boxes. Point at an anchor, or press one in the list, to see its boxes.",
        },
    )


def _short(value: float) -> float:
    """Return a number with so many digits as a drawing shows; above 0 it stays so."""
    return float(f"{value:.4g}")


def _said(one: AnchorSet) -> str:
    text = (
        f"Mean best IoU {one.mean_best_iou:.4f}; best possible recall "
        f"{rounded_down(one.best_possible_recall, 4)}."
    )
    return f"{text} {describe_proof(one)}".rstrip()


def describe_proof(one: AnchorSet) -> str:
    """Return what was proved of a set, in a sentence; nothing where no proof was asked for."""
    if one.upper_bound is None or one.gap is None:
        if one.is_proof_finished is None:
            return ""
        return (
            "Nothing is proved yet of how good anchors can be, as the time ran out; "
            "--certify SECONDS gives more."
        )
    text = (
        f"No {one.k} anchor{'' if one.k == 1 else 's'} can reach more than "
        f"{rounded_up(one.upper_bound, 4)} on these boxes: "
        f"{'this one is' if one.k == 1 else 'these are'} within "
        f"{gap_percent(one.gap)} of the best possible."
    )
    if one.is_proof_finished is False:
        text += " More time would bring the bound closer."
    return text


def _sets_table(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> Table:
    rows = tuple(
        (
            one.k,
            # Spaces that do not break keep width and height on one line.
            "  ".join(f"{w:.1f}\u00a0×\u00a0{h:.1f}" for w, h in one.anchors_wh_px),
            one.mean_best_iou,
            one.upper_bound,
            one.gap,
            one.best_possible_recall,
        )
        for one in anchors.sets
    )
    columns = (
        Column("k", "number"),
        Column("Anchors, px", "sizes"),
        Column("Mean best IoU", "number", digits=4),
        Column("None reaches more than", "number", digits=4, rounds="up"),
        Column("Within", "share", digits=GAP_DIGITS, rounds="up"),
        Column("Best possible recall", "number", digits=4, rounds="down"),
    )
    return Table(
        "sets",
        "The sets fitted by default" if analysis.are_ks_default else "The sets that were asked for",
        columns,
        rows,
        caption="Mean best IoU: mean over boxes of the IoU with the best anchor, centres aligned. "
        "Best possible recall: share of boxes with an anchor no side of which differs by a factor "
        "of 4 or more. Within: how far at most the set is from the best possible.",
    )


def choice_section(anchors: AnchorAnalysis) -> Section:
    """Build the section on how many anchors to take."""
    choice = anchors.choice
    are_proved = any(one.upper_bound is not None for one in anchors.curve)
    marked = "" if choice.k is None else f" The elbow of WCSS is at k = {choice.k}."
    figure = Figure(
        name="elbow",
        title="What each number of anchors brings",
        chart=elbow_chart(anchors.curve, choice, chosen_k=anchors.chosen.k),
        alt="Mean best IoU, best possible recall and within-cluster sum of squares of log sizes "
        "against the number of anchors. "
        + " ".join(
            f"{one.k}: IoU {one.mean_best_iou:.3f}, recall "
            f"{rounded_down(one.best_possible_recall, 3)}, WCSS {wcss:.3g}."
            for one in anchors.curve
            for k, wcss in zip(choice.ks, choice.wcss_log, strict=True)
            if k == one.k
        ),
        caption=f"Dotted line: k = {anchors.chosen.k}, the set that the rest of the page scores."
        f"{marked} WCSS, on the right axis: within-cluster sum of squares of k-means on the "
        "logarithms of width and height, shares of the image.",
        keys=(
            Key("mean best IoU", BLUE),
            *([Key("proved upper bound", VERMILLION)] if are_proved else []),
            Key("best possible recall", GREEN, is_dashed=True),
            Key("WCSS", PURPLE),
        ),
        height_px=320,
    )
    blocks = (figure,) if _exact_k(anchors) else (figure, _rules_table(choice))
    return Section("choice", "How many anchors?", blocks, lead=_choice_lead(anchors))


def _rules_table(choice: ChoiceOfK) -> Table:
    rows = tuple(
        (_RULE_NAMES.get(name, name), rule.k, rule.share) for name, rule in choice.rules.items()
    )
    columns = (
        Column("Rule"),
        Column("k", "number"),
        Column("In resampled boxes", "share", digits=0),
    )
    return Table(
        "rules",
        "What the rules say",
        columns,
        rows,
        caption=f"The share of {choice.num_resamples} bootstrap samples in which the rule says the "
        "same.",
    )


def _choice_lead(anchors: AnchorAnalysis) -> str:
    choice, exact_k = anchors.choice, _exact_k(anchors)
    if exact_k:
        sizes, own = counted(exact_k, "size"), counted(exact_k, "anchor")
        return f"The boxes have {sizes}: {own} {'fits' if exact_k == 1 else 'fit'} exactly."
    if choice.k is None:
        return (
            f"There is no clear elbow: {_say_rules(choice)}. Box sizes rarely form clusters. Take "
            "as many anchors as your detector has places for; the blue curve says what each of "
            "them brings."
        )
    text = f"The elbow of the log sizes is at {choice.k}"
    if choice.is_agreed:
        return f"{text}: every rule says so."
    return (
        f"{text}, but {_say_rules(choice)}, so it is not a clear one: the blue curve says what "
        "each further anchor brings."
    )


def _exact_k(anchors: AnchorAnalysis) -> int:
    """Return the number of anchors at which every distinct size has its own; 0 if none is there."""
    num_sizes = len(anchors.points.weights)
    return num_sizes if any(one.k == num_sizes for one in anchors.sets) else 0


def _say_rules(choice: ChoiceOfK) -> str:
    """Say what the rules say that do not find the elbow of the log sizes."""
    others = {
        _SHORT_RULE_NAMES[name]: rule.k for name, rule in choice.rules.items() if rule.k != choice.k
    }
    if not others:
        return "no rule finds one"
    said = [f"{name} {'finds none' if k is None else f'says {k}'}" for name, k in others.items()]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def published_section(anchors: AnchorAnalysis) -> Section:
    """Build the section on published anchors and on how the chosen ones fit which boxes."""
    rows = tuple(
        (
            score.name,
            score.k,
            score.mean_best_iou,
            score.best_possible_recall,
            f"{score.input_size_wh[0]} × {score.input_size_wh[1]}, {score.fit}",
            score.own_mean_best_iou,
        )
        for score in anchors.presets
    )
    columns = (
        Column("Published anchors"),
        Column("k", "number"),
        Column("Mean best IoU", "number", digits=4),
        Column("Best possible recall", "number", digits=4, rounds="down"),
        Column("Made for"),
        Column("Mean best IoU there", "number", digits=4),
    )
    published = Table("published-anchors", "Published anchors on these boxes", columns, rows)
    sources = Fold(
        "Where the published anchors stand",
        (Facts("", tuple((score.name, score.source) for score in anchors.presets)),),
    )
    k = anchors.chosen.k
    classes = [group for group in anchors.quality.by_class if group.boxes]
    is_cut = len(classes) > MOST_CLASS_ROWS
    if is_cut:
        classes = sorted(classes, key=lambda group: -group.boxes)[:MOST_CLASS_ROWS]
    groups = tuple(
        (group.name, group.boxes, group.mean_best_iou, group.best_possible_recall, group.over_half)
        for group in (*anchors.quality.by_size, *classes)
        if group.boxes
    )
    group_columns = (
        Column("Boxes that are"),
        Column("Boxes", "number"),
        Column("Mean best IoU", "number", digits=4),
        Column("Best possible recall", "number", digits=4, rounds="down"),
        Column("IoU over one half", "number", digits=4, rounds="down"),
    )
    by_group = Table(
        "groups",
        f"Which boxes the {k} anchor{'' if k == 1 else 's'} fit how well",
        group_columns,
        groups,
        caption=f"Of the classes the {MOST_CLASS_ROWS:,} largest. `tinysight boxes score FILE "
        f"--anchors anchors.json --k {k} --json` has all."
        if is_cut
        else "",
    )
    best = anchors.presets[0]
    lead = (
        f"Of {len(anchors.presets)} published sets, {best.name} fits these boxes best: mean best "
        f"IoU {best.mean_best_iou:.3f} with {best.k} anchors."
    )
    return Section(
        "published", "Against published anchors", (published, sources, by_group), lead=lead
    )
