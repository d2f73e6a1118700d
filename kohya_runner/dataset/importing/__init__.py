"""Datasets of other programs, laid out in their own ways, as a folder that a recipe names."""
