"""What the trainer will see."""
