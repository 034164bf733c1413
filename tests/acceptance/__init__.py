"""The command line as users run it: real processes, exit codes, standard output and error."""
