"""``python -m kohya_runner`` is the ``kohya-runner`` command."""

from kohya_runner.commands.cli import main

if __name__ == "__main__":
    main()
