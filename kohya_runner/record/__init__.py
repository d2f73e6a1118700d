"""A run on the disk: where everything lies, what was recorded, where a resume begins."""
