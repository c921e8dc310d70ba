"""The scores by which runs are compared: on the test part, else on tuning parts that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinysight.numerals import counted, in_points, percent
from tinysight.report.chance import Interval, PairedHits, accuracy_interval, pair_hits
from tinysight.report.run_results import RunResults
from tinysight.report.training_charts import measured_part, measured_value
from tinysight.run_facts import read_training_parts

_LEAST_LEAD = 0.001  # of accuracy: in a smaller one percentages may read the same
_MOST_NAMED = 3  # that a headline has room for

_CHANCE = 0.05  # of two equally good networks; what is rarer is not put down to chance

OTHER_TESTS = "These runs were tested on different images, so their figures do not compare."


@dataclass(frozen=True)
class Score:
    """How much of a part a run recognises.

    Attributes:
        name: Of the run.
        part: "test" or "tuning".
        accuracy: Share of its images that is recognised.
        loss: Mean loss on them; None where it was not written.
        images: How many there are.
        hits: Whether each is recognised, by sample id; None where that was not written.
    """

    name: str
    part: str
    accuracy: float
    loss: float | None
    images: int
    hits: Mapping[str, bool] | None

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the accuracy."""
        return accuracy_interval(self.accuracy, self.images)


def have_other_tests(runs: Sequence[RunResults]) -> bool:
    """Return whether some runs were tested on other images than others."""
    return len({run.about["split_digest"] for run in runs}) > 1


def tested_scores(runs: Sequence[RunResults], names: Sequence[str]) -> tuple[Score | None, ...]:
    """Return the score of each run on its test part, None for one that was not evaluated."""
    return tuple(
        Score(name, "test", found["accuracy"], found.get("loss"), found["images"], run.hits)
        if (found := run.metrics)
        else None
        for run, name in zip(runs, names, strict=True)
    )


def tuning_scores(runs: Sequence[RunResults], names: Sequence[str]) -> tuple[Score | None, ...]:
    """Return the last score of each run on its tuning part, None for a run that has none.

    Which images were held back follows from the store, its split and the share; they may have
    grown since.

    Returns:
        Nothing where fewer than two runs have a score, or where their images differ.
    """
    found = [_tuning_score(run, name) for run, name in zip(runs, names, strict=True)]
    looked_at = {
        (run.about["split_digest"], score.images, run.history[-1].get("tuning_image_px"))
        for run, score in zip(runs, found, strict=True)
        if score
    }
    are_two = sum(score is not None for score in found) > 1
    return tuple(found) if are_two and len(looked_at) == 1 else ()


def _tuning_score(run: RunResults, name: str) -> Score | None:
    images = read_training_parts(run.about, run.recipe).held_back
    if not run.history or not images or measured_part(run.history) != "tuning":
        return None
    accuracy, loss = (
        measured_value(run.history[-1], "tuning", quantity) for quantity in ("accuracy", "loss")
    )
    return None if accuracy is None else Score(name, "tuning", accuracy, loss, images, None)


def pair_runs(first: RunResults, second: RunResults) -> PairedHits | None:
    """Compare two runs image by image; None where that was not written or cannot be done."""
    return _pair(first.hits, second.hits)


def _pair(first: Mapping[str, bool] | None, second: Mapping[str, bool] | None) -> PairedHits | None:
    return None if first is None or second is None else pair_hits(first, second)


def headline_of(runs: Sequence[RunResults], names: Sequence[str]) -> tuple[str, str]:
    """Return which run is ahead, and its score beside the next one's in a sentence."""
    if have_other_tests(runs):
        return "Runs side by side", OTHER_TESTS
    scores = [score for score in tested_scores(runs, names) if score]
    if len(scores) < 2:
        scores = [score for score in tuning_scores(runs, names) if score]
    if len(scores) < 2:
        return (
            "Runs side by side",
            "Fewer than two of them were evaluated on their test part, or on one tuning part.",
        )
    scores.sort(key=lambda score: -score.accuracy)
    best, second = scores[:2]
    if best.accuracy == second.accuracy:
        return _level([score for score in scores if score.accuracy == best.accuracy], len(runs))
    lead = best.accuracy - second.accuracy
    if lead < _LEAST_LEAD:
        right, second_right = (round(score.accuracy * score.images) for score in (best, second))
        return (
            f"{best.name} is less than {in_points(_LEAST_LEAD)} ahead of {second.name}",
            f"It recognises {right:,} of its {counted(best.images, f'{best.part} image')}, "
            f"{second.name} {second_right:,} of {second.images:,}.{_may_be_chance(best, second)}",
        )
    return (
        f"{best.name} is {in_points(lead)} ahead of {second.name}",
        f"It recognises {percent(best.accuracy)} of its {best.part} images, {second.name} "
        f"{percent(second.accuracy)}.{_may_be_chance(best, second)}",
    )


def _level(best: Sequence[Score], num_runs: int) -> tuple[str, str]:
    """Say of runs that share the best accuracy that they do."""
    share = f"{percent(best[0].accuracy)} of their {best[0].part} images"
    *first, last = (score.name for score in best)
    named = f"{', '.join(first)} and {last}"
    if len(best) == 2:
        return f"{named} are level", f"Both recognise {share}."
    if len(best) <= _MOST_NAMED:
        return f"{named} are level", f"All {len(best)} recognise {share}."
    return f"{len(best)} of {num_runs} runs are level", f"{named} recognise {share}."


def _may_be_chance(best: Score, second: Score) -> str:
    pair = _pair(best.hits, second.hits)
    if pair is not None:
        verdict = "That may be chance" if pair.chance >= _CHANCE else "That is more than chance"
        return (
            f" {verdict}: the probability that two equally good networks differ at least so much "
            f"on these images is {percent(pair.chance)}."
        )
    if best.part == "test":
        return ""
    if best.interval[0] > second.interval[1]:
        return " That is more than chance: their 95 % intervals do not overlap."
    return " That may be chance: their 95 % intervals overlap."
