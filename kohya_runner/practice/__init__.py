"""The practice trainer: a stand-in process with the trainer's arguments, lines and files."""
