"""Simulated jets: Pythia 8, detector response, FastJet."""
