"""From the plan to the last checkpoint."""
