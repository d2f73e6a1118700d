"""From a recipe to the plan: reading first, then pure decisions."""
