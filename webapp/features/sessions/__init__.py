"""What was worked on: the pull, the stored file sessions, their totals."""
