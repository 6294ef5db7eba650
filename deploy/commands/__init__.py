"""The commands of `nervure`, one module each; deploy/cli.py lists them."""
