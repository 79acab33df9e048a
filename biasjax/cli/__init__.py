"""The command line: flags, commands, what is printed."""
