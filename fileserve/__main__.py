"""``python -m fileserve`` is the command ``fileserve``."""

from fileserve.cli import main

if __name__ == "__main__":
    main()
