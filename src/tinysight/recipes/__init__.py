"""Recipes that come with the package: one TOML file each, its header says what to expect."""
