"""`python -m qzbrain.cli`."""

from qzbrain.cli.app import main

if __name__ == "__main__":
    main()
