"""Model and LoRA files: their headers, their numbers, whose they are."""
