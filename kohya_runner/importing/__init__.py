"""Recipes from what people already have: settings of other programs, scripts, and the header of a LoRA."""
