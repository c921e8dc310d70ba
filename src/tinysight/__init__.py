"""Train a classifier on small images and see what it got wrong; check boxes and choose anchors.

The names below are the public front. Each is imported on first use, so that ``import tinysight``
is quick and works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tinysight.errors import DataError, RecipeError, RunError, TinysightError, TrainingError

if TYPE_CHECKING:
    from tinysight.boxes.analysis import analyse_boxes
    from tinysight.boxes.anchors import FitSettings, fit_anchors
    from tinysight.boxes.choice_of_k import choose_k
    from tinysight.boxes.explain import explain_annotations
    from tinysight.boxes.export import export_anchors
    from tinysight.boxes.reading import read_boxes
    from tinysight.boxes.summary import summarize_boxes
    from tinysight.classify.cam import class_activation_maps
    from tinysight.classify.diagnosis import diagnose_run
    from tinysight.classify.explain import explain_run
    from tinysight.classify.export import export_onnx, export_safetensors
    from tinysight.classify.lr_finder import lr_range_test
    from tinysight.classify.models import build_model
    from tinysight.classify.models.summary import summarize
    from tinysight.classify.pack import pack_store
    from tinysight.classify.picture_predictions import predict_images
    from tinysight.classify.predictions import evaluate_run
    from tinysight.classify.run import train_run
    from tinysight.classify.sources.opening import open_source
    from tinysight.classify.store import load_store
    from tinysight.classify.training_images import training_data
    from tinysight.config import load_recipe
    from tinysight.report.boxes_folder import write_boxes_report
    from tinysight.report.model_card import render_model_card
    from tinysight.run_report import write_run_report
    from tinysight.samples import draw_samples

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "FitSettings",
    "RecipeError",
    "RunError",
    "TinysightError",
    "TrainingError",
    "analyse_boxes",
    "build_model",
    "choose_k",
    "class_activation_maps",
    "diagnose_run",
    "draw_samples",
    "evaluate_run",
    "explain_annotations",
    "explain_run",
    "export_anchors",
    "export_onnx",
    "export_safetensors",
    "fit_anchors",
    "load_recipe",
    "load_store",
    "lr_range_test",
    "open_source",
    "pack_store",
    "predict_images",
    "read_boxes",
    "render_model_card",
    "summarize",
    "summarize_boxes",
    "train_run",
    "training_data",
    "write_boxes_report",
    "write_run_report",
]

_HOME_OF = {
    "FitSettings": "tinysight.boxes.anchors",
    "analyse_boxes": "tinysight.boxes.analysis",
    "build_model": "tinysight.classify.models",
    "choose_k": "tinysight.boxes.choice_of_k",
    "class_activation_maps": "tinysight.classify.cam",
    "diagnose_run": "tinysight.classify.diagnosis",
    "draw_samples": "tinysight.samples",
    "evaluate_run": "tinysight.classify.predictions",
    "explain_annotations": "tinysight.boxes.explain",
    "explain_run": "tinysight.classify.explain",
    "export_anchors": "tinysight.boxes.export",
    "export_onnx": "tinysight.classify.export",
    "export_safetensors": "tinysight.classify.export",
    "fit_anchors": "tinysight.boxes.anchors",
    "load_recipe": "tinysight.config",
    "load_store": "tinysight.classify.store",
    "lr_range_test": "tinysight.classify.lr_finder",
    "open_source": "tinysight.classify.sources.opening",
    "pack_store": "tinysight.classify.pack",
    "predict_images": "tinysight.classify.picture_predictions",
    "read_boxes": "tinysight.boxes.reading",
    "render_model_card": "tinysight.report.model_card",
    "summarize": "tinysight.classify.models.summary",
    "summarize_boxes": "tinysight.boxes.summary",
    "train_run": "tinysight.classify.run",
    "training_data": "tinysight.classify.training_images",
    "write_boxes_report": "tinysight.report.boxes_folder",
    "write_run_report": "tinysight.run_report",
}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
