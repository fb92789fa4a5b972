"""The command line: parse, call one flow, render. Nothing else."""
