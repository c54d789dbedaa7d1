"""Jets: simulation, detector response, checks of input files."""
