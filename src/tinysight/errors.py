"""Every fault that a user can mend.

    TinysightError
    ├── DataError         a source, an image, a store, annotations, anchors
    ├── RecipeError       a recipe or a --set value
    ├── RunError          a run folder, a checkpoint, its weights
    └── TrainingError     training cannot go on

A message says where, what must hold, what was found and what to do. The command line prints it
without a traceback and exits with 1.
"""


class TinysightError(Exception):
    """The base of all faults that a user can mend."""


class DataError(TinysightError):
    """A source, an image, a store, annotations or a file of anchors is not as it must be."""


class RecipeError(TinysightError):
    """A recipe or a ``--set`` value is not as it must be."""


class RunError(TinysightError):
    """A run folder, a checkpoint or its weights are not as they must be."""


class TrainingError(TinysightError):
    """Training cannot go on, for instance because the loss is no longer finite."""
