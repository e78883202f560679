"""Observations in, file sessions out: pure and replayable."""
