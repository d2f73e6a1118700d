"""What a recipe may do by itself, and what a person has to allow."""
