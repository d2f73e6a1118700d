"""What the trainers accept."""
