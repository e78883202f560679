"""Pictures as numbers: pure functions from totals to positions and sizes, which templates draw as SVG. No HTML here."""
