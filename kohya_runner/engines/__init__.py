"""The trainers: what each offers, asks for and does with options and data."""
