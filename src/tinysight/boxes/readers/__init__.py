"""One module a format of annotation files, each returning the records it found as columns."""
