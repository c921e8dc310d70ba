"""The parts of a page on anchors: the sets, how many to take, how they compare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tinysight.report.anchor_charts import elbow_chart, fit_by_k_chart
from tinysight.report.chart_style import BLUE, GREEN, VERMILLION
from tinysight.report.page import (
    Block,
    Callout,
    Column,
    Columns,
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
    from tinysight.boxes.verdict import Verdict

_RULE_NAMES = {
    "kneedle": "kneedle on the log WCSS",
    "chord": "farthest from the chord of the log WCSS",
    "silhouette": "largest silhouette",
    "gain": "last anchor that brings 2 points of IoU",
}


def sets_section(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> Section:
    """Build the section on the sets of anchors themselves."""
    width, height = analysis.input_size_wh
    blocks: list[Block] = [_verdict_callout(anchors.verdict)]
    if analysis.left_out_ks:
        ks = ", ".join(map(str, analysis.left_out_ks))
        blocks.append(
            Text(f"k = {ks} was asked for, but there are fewer distinct box sizes than that.")
        )
    blocks += [_widget(analysis, anchors), _sets_table(anchors)]
    lead = f"For an input of {width} × {height} px ({analysis.fit}), fitted to the mean best IoU."
    return Section("anchors", "Anchors", tuple(blocks), lead=lead)


def _verdict_callout(verdict: Verdict) -> Callout:
    return Callout("good" if verdict.keep_default else "note", verdict.text)


def _widget(analysis: BoxAnalysis, anchors: AnchorAnalysis) -> Widget:
    sizes = [
        number
        for (width, height), share in zip(
            anchors.points.wh.tolist(), anchors.points.weights.tolist(), strict=True
        )
        for number in (round(width, 2), round(height, 2), round(share * anchors.num_boxes, 2))
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
                    "anchors": one.anchors_wh_px.round(2).tolist(),
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
            "caption": f"{anchors.num_boxes:,} boxes, drawn as {len(anchors.points.weights):,} "
            "dots; a larger dot stands for more boxes. Point at an anchor to see its boxes.",
        },
    )


def _said(one: AnchorSet) -> str:
    text = (
        f"Mean best IoU {one.mean_best_iou:.4f}; best possible recall "
        f"{one.best_possible_recall:.4f}."
    )
    if one.upper_bound is None or one.gap is None:
        return text
    return f"{text} {describe_proof(one)}"


def describe_proof(one: AnchorSet) -> str:
    """Return what was proved of a set, in a sentence; it has an upper bound."""
    assert one.upper_bound is not None
    assert one.gap is not None
    text = (
        f"No {one.k} anchor{'' if one.k == 1 else 's'} can reach more than "
        f"{_rounded_up(one.upper_bound, 4):.4f} on these boxes: these are within "
        f"{_rounded_up(100 * one.gap, 2):.2f} % of the best possible."
    )
    if one.is_proof_finished is False:
        text += " More time would bring the bound closer."
    return text


def _rounded_up(value: float, digits: int) -> float:
    """Return a bound that stays one when it is printed; less than 1e-9 above a step is rounding."""
    return math.ceil(value * 10.0**digits - 1e-9) / 10.0**digits


def _sets_table(anchors: AnchorAnalysis) -> Table:
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
        Column("Anchors, px"),
        Column("Mean best IoU", "number", digits=4),
        Column("None reaches more than", "number", digits=4),
        Column("Within", "share", digits=2),
        Column("Best possible recall", "number", digits=4),
    )
    return Table(
        "sets",
        "The sets that were asked for",
        columns,
        rows,
        caption="Mean best IoU: mean over boxes of the IoU with the best anchor, centres aligned. "
        "Best possible recall: share of boxes with an anchor no side of which differs by a factor "
        "of 4 or more. Within: how far at most the set is from the best possible.",
    )


def choice_section(anchors: AnchorAnalysis) -> Section:
    """Build the section on how many anchors to take."""
    choice = anchors.choice
    figures = (
        Figure(
            name="elbow",
            title="The elbow",
            chart=elbow_chart(choice),
            alt="Within-cluster sum of squares of log sizes against the number of anchors. "
            + " ".join(
                f"{k}: {wcss:.3g}." for k, wcss in zip(choice.ks, choice.wcss_log, strict=True)
            ),
            caption="k-means on the logarithms of width and height, shares of the image.",
            height_px=270,
        ),
        Figure(
            name="fit-by-k",
            title="What each anchor brings",
            chart=fit_by_k_chart(anchors.curve),
            alt="Mean best IoU against the number of anchors. "
            + " ".join(f"{one.k}: {one.mean_best_iou:.3f}." for one in anchors.curve),
            keys=(
                Key("mean best IoU", BLUE),
                Key("proved upper bound", VERMILLION),
                Key("best possible recall", GREEN, is_dashed=True),
            ),
            height_px=270,
        ),
    )
    rows = tuple(
        (_RULE_NAMES.get(name, name), rule.k, rule.share) for name, rule in choice.rules.items()
    )
    columns = (Column("Rule"), Column("k", "number"), Column("In resampled boxes", "share"))
    table = Table(
        "rules",
        "What the rules say",
        columns,
        rows,
        caption=f"The share of {choice.num_resamples} bootstrap samples in which the rule says the "
        "same.",
    )
    return Section(
        "choice", "How many anchors?", (Columns(figures), table), lead=_choice_lead(anchors)
    )


def _choice_lead(anchors: AnchorAnalysis) -> str:
    choice = anchors.choice
    if choice.k is None:
        return (
            "There is no clear elbow: box sizes rarely form clusters. Take as many anchors as "
            "your detector has places for; the curve on the right says what each of them brings."
        )
    text = f"The elbow of the log sizes is at {choice.k}."
    if not choice.is_agreed:
        text += (
            " The other rules say something else, so it is not a clear one: the curve on the "
            "right says what each further anchor brings."
        )
    return text


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
        Column("Best possible recall", "number", digits=4),
        Column("Made for"),
        Column("Mean best IoU there", "number", digits=4),
    )
    published = Table("published-anchors", "Published anchors on these boxes", columns, rows)
    sources = Fold(
        "Where the published anchors stand",
        (Facts("", tuple((score.name, score.source) for score in anchors.presets)),),
    )
    groups = tuple(
        (group.name, group.boxes, group.mean_best_iou, group.best_possible_recall, group.over_half)
        for group in (*anchors.quality.by_size, *anchors.quality.by_class)
        if group.boxes
    )
    group_columns = (
        Column("Boxes that are"),
        Column("Boxes", "number"),
        Column("Mean best IoU", "number", digits=4),
        Column("Best possible recall", "number", digits=4),
        Column("IoU over one half", "share"),
    )
    k = anchors.chosen.k
    by_group = Table(
        "groups",
        f"Which boxes the {k} anchor{'' if k == 1 else 's'} fit how well",
        group_columns,
        groups,
    )
    best = anchors.presets[0]
    lead = (
        f"Of {len(anchors.presets)} published sets, {best.name} fits these boxes best: mean best "
        f"IoU {best.mean_best_iou:.3f} with {best.k} anchors."
    )
    return Section(
        "published", "Against published anchors", (published, sources, by_group), lead=lead
    )
