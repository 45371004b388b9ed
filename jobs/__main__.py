"""``python -m thalweg.jobs``: the command line where the script ``thalweg`` is not on the path."""

from thalweg.jobs.cli import main

if __name__ == "__main__":
    main(prog_name="thalweg")
