"""`python -m tightc` is the command `tightc`."""

from tightc.cli.main import main

if __name__ == "__main__":
    main()
