"""Where observations come from, one sibling module for each source."""
