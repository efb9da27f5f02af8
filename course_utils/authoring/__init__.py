"""What authors and teachers run: the command line and the tools behind it. Nothing imports this package."""
