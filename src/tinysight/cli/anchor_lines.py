"""Anchors as text: each set with its proof, and what the rules say about the number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tinysight.numerals import counted, gap_percent, percent, rounded_down, rounded_up

if TYPE_CHECKING:
    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.choice_of_k import ChoiceOfK, RuleChoice
    from tinysight.boxes.structured import StructuredAnchors

_COLUMNS = 100


def set_lines(
    sets: Sequence[AnchorSet],
    choice: ChoiceOfK | None,
    num_boxes: int,
    num_crowd: int,
    note_on_k: str = "",
) -> Iterator[str]:
    """Yield the sets with what was proved of them, and what the rules say about k, where known."""
    first = sets[0]
    width, height = first.input_size_wh
    crowd = f" ({counted(num_crowd, 'crowd box', 'crowd boxes')} left out)" if num_crowd else ""
    yield f"boxes       {num_boxes:,}{crowd}"
    yield f"input       {width}x{height} px, {first.fit}"
    yield f"distance    {first.distance}"
    if note_on_k:
        yield f"k           {note_on_k}"
    yield ""
    row = "{:>3}  {:>8}  {:>7}  {:>8}  {}"
    yield row.format("k", "mean IoU", "recall", "at most", "").rstrip()
    for anchors in sets:
        yield row.format(
            anchors.k,
            f"{anchors.mean_best_iou:.4f}",
            rounded_down(anchors.best_possible_recall, 4),
            "" if anchors.upper_bound is None else rounded_up(anchors.upper_bound, 4),
            _proof(anchors),
        ).rstrip()
    yield ""
    yield "anchors     width x height in pixels at the input, by area"
    for anchors in sets:
        pairs = [f"{w:.1f}x{h:.1f}" for w, h in anchors.anchors_wh_px.tolist()]
        yield from _wrapped(f"  k = {anchors.k:<4}  ", pairs)
    yield ""
    if choice is None:
        yield "elbow       not known: the boxes were counted by size and not kept"
    else:
        yield from _elbow_lines(choice)


def _proof(anchors: AnchorSet) -> str:
    loose = "" if anchors.is_proof_finished else " (time ran out: --certify SECONDS for more)"
    if anchors.gap is None:
        return "" if anchors.is_proof_finished is None else f"nothing proved yet{loose}"
    return f"within {gap_percent(anchors.gap)} of the best possible{loose}"


def _elbow_lines(choice: ChoiceOfK) -> Iterator[str]:
    says = {name: _rule(rule) for name, rule in choice.rules.items()}
    if choice.is_agreed:
        yield f"elbow       k = {choice.k}: every rule says so"
    elif choice.k is not None:
        yield f"elbow       k = {choice.k} by the log WCSS, but no clear elbow: the rules disagree"
    elif all(rule.k is None for rule in choice.rules.values()):
        yield "elbow       none: no rule finds one; choose by mean IoU and your budget"
    else:
        yield "elbow       no clear elbow: the rules disagree; choose by mean IoU and your budget"
    yield f"            on the log WCSS: kneedle {says['kneedle']}, chord {says['chord']}"
    yield f"            silhouette {says['silhouette']}, gain {says['gain']}"
    yield f"            ({_gain_in_words(choice)})"
    yield f"            (in brackets: share of {choice.num_resamples} resamples that say the same)"
    yield from _wrapped(
        "log WCSS    ",
        [f"{k}: {value:,.2f}" for k, value in zip(choice.ks, choice.wcss_log, strict=True)],
    )


def structured_lines(structured: StructuredAnchors) -> Iterator[str]:
    """Yield what levels, sizes and ratios were fitted."""
    yield ""
    yield (
        f"structured  mean IoU {structured.mean_best_iou:.4f}, "
        f"recall {rounded_down(structured.best_possible_recall, 4)}"
    )
    for number, sizes in enumerate(structured.sizes_px.tolist(), start=1):
        yield f"  level {number:<4}{'  '.join(f'{size:.1f}' for size in sizes)} px"
    yield f"  ratios    {'  '.join(f'{ratio:.3f}' for ratio in structured.ratios.tolist())} (h/w)"


def _gain_in_words(choice: ChoiceOfK) -> str:
    k, last = choice.rules["gain"].k, choice.ks[-1]
    if k is not None:
        return f"gain: one anchor more than {k} raises the mean IoU by less than 0.02"
    if last > 1:
        return f"gain: up to k = {last} each further anchor raises the mean IoU by 0.02 or more"
    return "gain: there is one size, so a further anchor brings nothing"


def _rule(rule: RuleChoice) -> str:
    return f"{'none' if rule.k is None else rule.k} ({percent(rule.share, 0)})"


def _wrapped(label: str, words: Sequence[str]) -> Iterator[str]:
    line = label
    for word in words:
        if len(line) + len(word) > _COLUMNS:
            yield line.rstrip()
            line = " " * len(label)
        line += f"{word}  "
    yield line.rstrip()
