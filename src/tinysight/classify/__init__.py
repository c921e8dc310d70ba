"""From an archive of small images to a trained classifier whose mistakes can be looked at."""
