"""Results as charts and pictures. It reads results and computes none, and needs no torch."""
